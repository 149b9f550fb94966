/** Who speaks. `developer` and the names that data sets use for these are mapped to them when data is read. */
export type Role = 'system' | 'user' | 'assistant' | 'tool';

/** One turn. */
export interface Message {
  readonly role: Role;
  readonly content: string;
  /** False: an assistant turn that is shown but not learned (OpenAI's `weight: 0`). */
  readonly train?: boolean;
  /** What else a template may look at, under its own name: `tool_calls`, `reasoning_content`, `name`. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** What all formats of supervised data are read into. */
export interface Conversation {
  readonly messages: readonly Message[];
  /** The texts follow each other as they are, without a template: prompt and completion given as plain strings. */
  readonly plain?: boolean;
  /** Functions the assistant may call, as templates expect them. */
  readonly tools?: readonly unknown[];
  /** Where it stands: "file:line". Begins the sentences about it. */
  readonly place?: string;
}
