export {
  type ConversationFormat,
  conversationFormats,
  type FormatName,
  type FormatOptions,
  formatOf,
} from './formats.js';
export { messagesOf, shareGptOf } from './messages.js';
export { type ReadOptions, readConversations } from './read.js';
