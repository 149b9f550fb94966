export type { Conversation, Message, Role } from './conversation.js';
export type { RenderJinja } from './jinja.js';
export type { Protect } from './marks.js';
export { type MaskedIds, type RenderOptions, renderPrompt, renderTemplate } from './render.js';
export { type ChatTemplate, type ChatTemplateOptions, openChatTemplate } from './template.js';
