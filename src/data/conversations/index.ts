export { type CheckOptions, type CheckSample, checkConversations, type DataCheck } from './check.js';
export {
  type ConversationFormat,
  conversationFormats,
  type FormatName,
  type FormatOptions,
  formatOf,
} from './formats.js';
export { messagesOf, shareGptOf } from './messages.js';
export { batchOf, packRows, positionsOf } from './pack.js';
export { type ReadOptions, readConversations } from './read.js';
