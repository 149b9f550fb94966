/**
 * The prompt of R1-Zero: plain text that asks for reasoning and answer inside their tags and says nothing about how to
 * reason (DeepSeek-R1, arXiv:2501.12948, table 1). In our words; base models need no chat tokens for it.
 * @param options.opened ends in `<think>`, so that the completion starts inside it
 */
export function zeroPrompt(question: string, options: { readonly opened?: boolean } = {}): string {
  return (
    'The following is a conversation of a User with an Assistant. The User puts a question and the Assistant solves it. ' +
    'First the Assistant thinks the problem through for itself, then it gives the User the answer. The thinking is ' +
    'enclosed in <think> </think> and the answer in <answer> </answer>, like this: <think> how the problem is ' +
    `thought through </think> <answer> what the answer is </answer>. User: ${question}. Assistant:` +
    (options.opened ? ' <think>' : '')
  );
}
