export { type PreferenceFormat, preferenceFormats, type Undecided } from './formats.js';
export { type PreferenceOptions, type Preferences, readLabelled, readPairs } from './read.js';
export { conversationOf, type LabelledAnswer, type PreferencePair } from './types.js';
