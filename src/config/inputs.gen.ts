// Generated from the schemas by `npx vitest run test/config/inputs.test.ts -u`. Do not edit.
/** Settings of pretrain(). */
export interface RunConfigInput {
  /** Named settings that everything else overrides. Default "nano". */
  readonly preset?: string | undefined;
  /**
   * A model to go on from, with its tokenizer: a Hugging Face folder, a checkpoint or a run folder; model.NAME
   * overrides the preset's.
   */
  readonly model?: string | Readonly<Record<string, unknown>> | undefined;
  readonly data?: {
    /** Files, folders and globs to read; none takes real text that is already on the machine. */
    readonly sources?: readonly string[] | undefined;
    /** The field that holds the text in .jsonl, .csv and .parquet. Default "text". */
    readonly field?: string | undefined;
    /** Fraction of the documents held out for validation, by content hash. Default 0.01. */
    readonly validation?: number | undefined;
    /** Fraction of the documents held out for testing, by content hash. Default 0. */
    readonly test?: number | undefined;
    /** Fraction of the documents rewritten as prefix, suffix, middle; DeepSeek-V3 uses 0.1. Default 0. */
    readonly fim?: number | undefined;
    /** Fraction of the tokens that an encoder finds hidden and predicts, or that XLNet predicts. Default 0.15. */
    readonly masked?: number | undefined;
    /** Whole words of an encoder that are hidden together, at most; 0 hides single tokens. Default 0. */
    readonly wholeWords?: number | undefined;
    /**
     * What an encoder judges of pairs of texts: "next", whether the second follows; "order", whether they are
     * swapped. Default "none".
     */
    readonly pairs?: 'none' | 'next' | 'order' | undefined;
    /** Fraction of the pairs that are cut to a random length. Default 0.1. */
    readonly shortPairs?: number | undefined;
    /** Half of the rows run backwards, so that XLNet remembers what comes after them, too. Default false. */
    readonly reversed?: boolean | undefined;
    /**
     * "stream" lets attention cross documents, as DeepSeek-V3 does; "documents" stops it at their borders.
     * Default "stream".
     */
    readonly packing?: 'stream' | 'documents' | undefined;
    /** Folder of the tokenised shards; by default it lies beside the run. */
    readonly cache?: string | undefined;
  } | undefined;
  readonly tokenizer?: {
    /** A tokenizer to use as it is; without one a vocabulary is learnt. */
    readonly path?: string | undefined;
    /** Tokens of a learnt vocabulary, special ones included. Default 4096. */
    readonly vocabSize?: number | undefined;
    /** Bytes of text the vocabulary is learnt from, at most. Default 67108864. */
    readonly trainBytes?: number | undefined;
  } | undefined;
  readonly train?: {
    /** Optimizer steps. Default 1000. */
    readonly steps?: number | undefined;
    /** Rows (packed windows) of one optimizer step. Default 8. */
    readonly rows?: number | undefined;
    /** Tokens of one row. Default 256. */
    readonly length?: number | undefined;
    /** Micro-batches that a step is cut into; changes memory, not the result. Default 1. */
    readonly accumulate?: number | undefined;
    /** Seed of the initial weights, the data order and dropout. Default 1. */
    readonly seed?: number | undefined;
    /**
     * Arithmetic of the step; "auto" is bf16 where the device multiplies it faster. Masters are f32. Default
     * "auto".
     */
    readonly dtype?: 'auto' | 'f32' | 'bf16' | undefined;
    readonly optimizer?: {
      /** Peak learning rate. Default 0.001. */
      readonly lr?: number | undefined;
      /** Decay of the first moment. Default 0.9. */
      readonly beta1?: number | undefined;
      /** Decay of the second moment. Default 0.95. */
      readonly beta2?: number | undefined;
      /** Added to the root of the second moment. Default 1e-8. */
      readonly eps?: number | undefined;
      /** Decoupled weight decay of matrices; norms and biases have none. Default 0.1. */
      readonly decay?: number | undefined;
      /** How the two moments are stored; "u8": 8 bits and a scale to each 256, arXiv:2110.02861. Default "f32". */
      readonly moments?: 'f32' | 'bf16' | 'u8' | undefined;
      /**
       * Keep f32 values of bf16 weights; without them stochastic rounding keeps them right on average. Default
       * true.
       */
      readonly master?: boolean | undefined;
    } | undefined;
    readonly schedule?: {
      /**
       * Shape after the warm-up; "v2" and "v3" are the steps and the four pieces of the DeepSeek papers.
       * Default "cosine".
       */
      readonly kind?: 'constant' | 'cosine' | 'linear' | 'v2' | 'v3' | undefined;
      /** Steps of linear warm-up from zero. Default 20. */
      readonly warmup?: number | undefined;
      /** Where "cosine" and "linear" end, as a fraction of the peak. Default 0.1. */
      readonly floor?: number | undefined;
      /** "v2": the rate drops after these fractions of the steps. */
      readonly drops?: readonly number[] | undefined;
      /** "v2": by this factor each time. Default 0.316. */
      readonly dropFactor?: number | undefined;
    } | undefined;
    /** Start with fewer rows. */
    readonly rowsRamp?: {
      /** Rows of the first step. */
      readonly from: number;
      /** Steps over which they grow to train.rows. */
      readonly steps: number;
    } | undefined;
    /** Largest global norm of the gradient. Default 1. */
    readonly clip?: number | undefined;
    /** Decay of an exponential moving average of the weights, e.g. 0.999; kept beside them. */
    readonly ema?: number | undefined;
    /** Recompute each block in the backward pass: less memory, more time. Default false. */
    readonly recompute?: boolean | undefined;
  } | undefined;
  readonly distill?: {
    /**
     * An encoder that another learns from, with the teacher's vocabulary: a folder, a checkpoint or a run
     * folder.
     */
    readonly teacher?: string | undefined;
    /** Softens what teacher and student say of every token. Default 2. */
    readonly temperature?: number | undefined;
    /** Weight of the divergence from the teacher's probabilities. Default 5. */
    readonly soft?: number | undefined;
    /** Weight of the loss on hidden words. Default 2. */
    readonly words?: number | undefined;
    /** Weight of the angle to the teacher's last hidden states; 0: none. Default 1. */
    readonly cosine?: number | undefined;
    /**
     * A student of random weights begins with the teacher's embedding, head and some of its layers. Default
     * true.
     */
    readonly begin?: boolean | undefined;
  } | undefined;
  readonly evaluate?: {
    /** Steps between evaluations; 0 evaluates at the end only. Default 100. */
    readonly every?: number | undefined;
    /** Rows of the validation split in one evaluation, at most. Default 64. */
    readonly windows?: number | undefined;
  } | undefined;
  readonly save?: {
    /** Steps between checkpoints; 0 saves at the end only. Default 200. */
    readonly every?: number | undefined;
    /** Checkpoints kept; older ones are deleted. Default 2. */
    readonly keep?: number | undefined;
  } | undefined;
  readonly log?: {
    /** Steps between lines where the output is not a terminal. Default 10. */
    readonly every?: number | undefined;
    /** Write TensorBoard event files beside the JSONL metrics. Default true. */
    readonly tensorboard?: boolean | undefined;
  } | undefined;
  /** Run folder, by default runs/<preset>, or runs/pretrain with a model; a run that it holds goes on. */
  readonly out?: string | undefined;
  /** "auto" takes the GPU where one works and says why where none does. Default "auto". */
  readonly device?: 'auto' | 'cpu' | 'cuda' | 'emulator' | undefined;
  /** Threads of the CPU backend, of all ranks together; by default the cores given to us. */
  readonly threads?: number | undefined;
  /** Processes that share each step, one a GPU, or so many of the CPU (data parallel, ZeRO-1). Default 1. */
  readonly ranks?: number | undefined;
  /** Seconds that a rank waits for another one before the run ends with an error. Default 600. */
  readonly rankTimeout?: number | undefined;
}

/** Settings of sft(). */
export interface SftInput {
  /** The model to start from: a Hugging Face folder, a checkpoint or a run folder. */
  readonly model: string;
  /** Files of conversations: .jsonl .json (also .gz) .parquet. */
  readonly data: readonly string[];
  /** Files to evaluate on; by default a share of the data. */
  readonly validationData?: readonly string[] | undefined;
  /** Format of the records; by default what the first of each file looks like. */
  readonly format?: 'messages' | 'sharegpt' | 'prompt-completion' | 'self-instruct' | 'alpaca' | undefined;
  /**
   * Prompts given as strings are continued as they are, or asked as a turn of the chat template. Default
   * "text".
   */
  readonly promptAs?: 'text' | 'user' | undefined;
  /** A tokenizer; by default the model's own. */
  readonly tokenizer?: string | undefined;
  /** A chat template (Jinja file or text); by default the tokenizer's own. */
  readonly template?: string | undefined;
  /** Tokens that end an answer; by default the tokenizer's end token. */
  readonly stopTokens?: readonly string[] | undefined;
  /** Answers of a conversation that are trained. Default "all". */
  readonly turns?: 'all' | 'last' | undefined;
  /** Run folder; a run that it holds goes on. Default "runs/sft". */
  readonly out?: string | undefined;
  /** Where to compute. Default "auto". */
  readonly device?: 'auto' | 'cpu' | 'cuda' | 'emulator' | undefined;
  /** Arithmetic; masters are f32. Default "f32". */
  readonly dtype?: 'f32' | 'bf16' | undefined;
  /** Threads of the CPU backend, of all ranks together. */
  readonly threads?: number | undefined;
  /** Processes that share each step, one a GPU, or so many of the CPU (data parallel, ZeRO-1). Default 1. */
  readonly ranks?: number | undefined;
  /** Seconds that a rank waits for another one before the run ends with an error. Default 600. */
  readonly rankTimeout?: number | undefined;
  /** Seed of the order of the examples. Default 1. */
  readonly seed?: number | undefined;
  /** Times that the data is gone through. Default 2. */
  readonly epochs?: number | undefined;
  /** Steps after which to end, if the epochs are not over before. */
  readonly steps?: number | undefined;
  /** Packed rows of a step. Default 8. */
  readonly rows?: number | undefined;
  /** Positions of a row; by default 2048, or the model's context if shorter. */
  readonly length?: number | undefined;
  /** Examples longer than a row. Default "drop". */
  readonly overlong?: 'drop' | 'cut' | undefined;
  /** Parts in which a step is computed; changes memory, not the result. Default 1. */
  readonly accumulate?: number | undefined;
  /** Recompute blocks in the backward pass: less memory, more time. Default false. */
  readonly recompute?: boolean | undefined;
  /** Balance losses and router biases of a mixture of experts. Default true. */
  readonly balance?: boolean | undefined;
  /** Train the model's multi-token prediction, where it has one. Default true. */
  readonly mtp?: boolean | undefined;
  /** Largest learning rate. Default 0.00005. */
  readonly lr?: number | undefined;
  /** Shape of the learning rate. Default "cosine". */
  readonly schedule?: 'cosine' | 'linear' | 'constant' | undefined;
  /** Share of the learning rate that is left at the end. Default 0.1. */
  readonly floor?: number | undefined;
  /** Steps over which the learning rate rises from 0. Default 0. */
  readonly warmup?: number | undefined;
  /** Weight decay of matrices. Default 0. */
  readonly decay?: number | undefined;
  /** Largest global norm of the gradient. Default 1. */
  readonly maxNorm?: number | undefined;
  /** Type of the optimizer's moments. Default "f32". */
  readonly moments?: 'f32' | 'bf16' | undefined;
  readonly lora?: {
    /** Rank of the adapters; 0 trains all weights. Default 0. */
    readonly rank?: number | undefined;
    /** The update is multiplied by alpha / rank. Default 16. */
    readonly alpha?: number | undefined;
    /** Share of the inputs that adapters do not see in training. Default 0. */
    readonly dropout?: number | undefined;
    /** Matrices that get an adapter. Default "all". */
    readonly targets?: 'attention' | 'feed' | 'all' | undefined;
  } | undefined;
  /** Share of the conversations that is held out. Default 0.02. */
  readonly validation?: number | undefined;
  /** Steps between evaluations; 0: after each epoch. Default 0. */
  readonly evaluateEvery?: number | undefined;
  /** Steps between checkpoints; 0: at the end only. Default 200. */
  readonly saveEvery?: number | undefined;
  /** Checkpoints kept. Default 2. */
  readonly keep?: number | undefined;
  /** Write TensorBoard event files beside the JSONL metrics. Default true. */
  readonly tensorboard?: boolean | undefined;
}

/** Settings of trainGrpo(). */
export interface GrpoInput {
  /** The model to start from: a Hugging Face folder, a checkpoint or a run folder. */
  readonly model: string;
  /** A tokenizer; by default the model's own. */
  readonly tokenizer?: string | undefined;
  /** Arith, countdown, gsm8k, a .jsonl of problems or a .js module. Default "arith". */
  readonly task?: string | undefined;
  /** The task's own options, as JSON. */
  readonly taskOptions?: Readonly<Record<string, unknown>> | undefined;
  /**
   * How a question is put: as it is, in the prompt of R1-Zero, which asks for <think> and <answer>, or as a
   * turn of the chat template. Default "none".
   */
  readonly template?: 'none' | 'zero' | 'chat' | undefined;
  /**
   * Rewards, first the one that says right or wrong; by default the task's. model:DIR is a reward model,
   * perhaps with ,part=answer|all ,scale=running|sigmoid|none ,as=turns|text.
   */
  readonly reward?: readonly string[] | undefined;
  /** Weights of the rewards; by default 1 each. */
  readonly rewardWeights?: readonly number[] | undefined;
  /** Run folder; a run that it holds goes on. Default "runs/grpo". */
  readonly out?: string | undefined;
  /** Where to compute. Default "auto". */
  readonly device?: 'auto' | 'cpu' | 'cuda' | 'emulator' | undefined;
  /** Arithmetic; masters are f32. Default "f32". */
  readonly dtype?: 'f32' | 'bf16' | undefined;
  /** Threads of the CPU backend. */
  readonly threads?: number | undefined;
  /** Seed of questions, completions and mini-batches. Default 1. */
  readonly seed?: number | undefined;
  /** Rollouts. Default 100. */
  readonly steps?: number | undefined;
  /** Questions of a rollout. Default 8. */
  readonly prompts?: number | undefined;
  /** Completions of a question. Default 8. */
  readonly group?: number | undefined;
  /** Longest completion. Default 256. */
  readonly maxTokens?: number | undefined;
  /** Longest prompt; longer questions are passed over. Default 512. */
  readonly maxPrompt?: number | undefined;
  /** Of sampling, and of the log-probabilities that are trained. Default 1. */
  readonly temperature?: number | undefined;
  /** Completions sampled at once, at most (never less than a group). Default 128. */
  readonly parallel?: number | undefined;
  /**
   * F32 on CPUs: samples have the log-probabilities of training to the bit; latent attention keeps more.
   * Default true.
   */
  readonly exactRollouts?: boolean | undefined;
  /** Tokens of one forward and backward pass; changes memory, not the result. Default 16384. */
  readonly rowsAtOnce?: number | undefined;
  /** Recompute blocks in the backward pass: less memory, more time. Default false. */
  readonly recompute?: boolean | undefined;
  /** Learning rate. Default 0.000001. */
  readonly lr?: number | undefined;
  /** Updates over which the learning rate rises from 0. Default 0. */
  readonly warmup?: number | undefined;
  /** Weight decay of matrices. Default 0. */
  readonly decay?: number | undefined;
  /** Largest global norm of the gradient. Default 1. */
  readonly maxNorm?: number | undefined;
  /** Mini-batches a rollout is cut into, one update each; R1-Zero: 16. Default 1. */
  readonly updates?: number | undefined;
  /** Times that a rollout is gone through. Default 1. */
  readonly epochs?: number | undefined;
  /** "mean" leaves the deviation out (Dr. GRPO). Default "std". */
  readonly advantage?: 'std' | 'mean' | undefined;
  /** The ratio stays above 1 - this; R1: 10, which is never. Default 0.2. */
  readonly clipLow?: number | undefined;
  /** The ratio stays below 1 + this; DAPO: 0.28. Default 0.2. */
  readonly clipHigh?: number | undefined;
  /** Bound on the loss of a bad token, in advantages; e.g. 3. */
  readonly dualClip?: number | undefined;
  /** "sequence" is GSPO. Default "token". */
  readonly ratio?: 'token' | 'sequence' | undefined;
  /**
   * Mean over samples of token means (GRPO), over all tokens (DAPO), or sum / longest completion (Dr. GRPO).
   * Default "sequence".
   */
  readonly aggregation?: 'sequence' | 'token' | 'constant' | undefined;
  /** Weight of the KL penalty; 0 needs no reference model. Default 0.001. */
  readonly kl?: number | undefined;
  /** Estimator of the KL penalty. Default "k3". */
  readonly klEstimator?: 'k1' | 'k2' | 'k3' | 'k3-unbiased' | undefined;
  /** Steps after which the reference becomes the current policy; 0: never. Default 0. */
  readonly resetReference?: number | undefined;
  /** Cap of truncated importance sampling; e.g. 2. */
  readonly rolloutCap?: number | undefined;
  /** Leave bad samples out whose mean log-ratio to the policy that sampled exceeds this (DeepSeek-V3.2). */
  readonly offPolicyMask?: number | undefined;
  /** Further rollouts, at most, to replace groups of equal rewards (DAPO); 0: keep them. Default 0. */
  readonly dynamicSampling?: number | undefined;
  /**
   * Completions cut at maxTokens: trained on, left out of the loss, or punished from overlongBuffer on.
   * Default "keep".
   */
  readonly overlong?: 'keep' | 'drop' | 'punish' | undefined;
  /** "punish": the penalty grows to 1 over the last so many tokens. Default 64. */
  readonly overlongBuffer?: number | undefined;
  /** Updates use the experts that the old policy chose (mixture of experts). Default false. */
  readonly replayRouting?: boolean | undefined;
  /** Steps between evaluations on test questions; 0: at the start and the end. Default 0. */
  readonly evaluateEvery?: number | undefined;
  /** Test questions of an evaluation; 0: none. Default 32. */
  readonly evaluateQuestions?: number | undefined;
  /** Completions of a test question: pass@1 to pass@this; 1 is greedy. Default 1. */
  readonly evaluateSamples?: number | undefined;
  /** Ends the run when test accuracy lies this far below its best, as when a reward model is being exploited. */
  readonly stopOnDrop?: number | undefined;
  /** Steps between checkpoints; 0: at the end only. Default 50. */
  readonly saveEvery?: number | undefined;
  /** Checkpoints kept. Default 2. */
  readonly keep?: number | undefined;
  /** Processes that grade. Default 2. */
  readonly graderWorkers?: number | undefined;
  /** Seconds that one sample may take to grade. Default 20. */
  readonly graderTimeout?: number | undefined;
  /** Write TensorBoard event files beside the JSONL metrics. Default true. */
  readonly tensorboard?: boolean | undefined;
  /** Fraction of the groups whose completions are written, per step. Default 1. */
  readonly completions?: number | undefined;
}

/** Settings of trainRewardModel(). */
export interface RewardModelInput {
  /** The model to start from: a Hugging Face folder, a checkpoint or a run folder. */
  readonly model: string;
  /** A tokenizer; by default the model's own. */
  readonly tokenizer?: string | undefined;
  /** A Jinja file to render conversations with; by default that of the tokenizer. */
  readonly chatTemplate?: string | undefined;
  /** Files of preferences: .jsonl, .json or .parquet. */
  readonly data: readonly string[];
  /**
   * Prompts that are plain strings: "text" is continued as it stands, "user" is a turn of the chat template.
   * Default "text".
   */
  readonly promptAs?: 'text' | 'user' | undefined;
  /** Where to compute. Default "auto". */
  readonly device?: 'auto' | 'cpu' | 'cuda' | 'emulator' | undefined;
  /** Arithmetic; masters are f32. Default "f32". */
  readonly dtype?: 'f32' | 'bf16' | undefined;
  /** Threads of the CPU backend. */
  readonly threads?: number | undefined;
  /** Seed of the order. Default 1. */
  readonly seed?: number | undefined;
  /** Times that the data are gone through. Default 1. */
  readonly epochs?: number | undefined;
  /** Pairs to train on, at most; by default all. */
  readonly maxPairs?: number | undefined;
  /** Share of the prompts that is kept for testing. Default 0.1. */
  readonly heldOut?: number | undefined;
  /** Course of the learning rate. Default "cosine". */
  readonly schedule?: 'constant' | 'linear' | 'cosine' | undefined;
  /** What "linear" and "cosine" end at, as a factor. Default 0.1. */
  readonly floor?: number | undefined;
  /** Updates over which the learning rate rises from 0. Default 0. */
  readonly warmup?: number | undefined;
  /** Weight decay of matrices. Default 0. */
  readonly decay?: number | undefined;
  /** Largest global norm of the gradient. Default 1. */
  readonly maxNorm?: number | undefined;
  /** Tokens of one forward and backward pass; changes memory, not the result. Default 16384. */
  readonly rowsAtOnce?: number | undefined;
  /** Recompute blocks in the backward pass: less memory, more time. Default false. */
  readonly recompute?: boolean | undefined;
  /** Steps between evaluations; 0: at the start and the end. Default 0. */
  readonly evaluateEvery?: number | undefined;
  /** Held-out pairs of an evaluation, at most; 0: none. Default 2000. */
  readonly evaluatePairs?: number | undefined;
  /** Steps between checkpoints; 0: at the end only. Default 200. */
  readonly saveEvery?: number | undefined;
  /** Checkpoints kept. Default 2. */
  readonly keep?: number | undefined;
  /** Write TensorBoard event files beside the JSONL metrics. Default true. */
  readonly tensorboard?: boolean | undefined;
  /** Run folder; a run that it holds goes on. Default "runs/reward-model". */
  readonly out?: string | undefined;
  /**
   * "pairwise" learns which of two answers is better, "safety" the probability that one answer is fine.
   * Default "pairwise".
   */
  readonly kind?: 'pairwise' | 'safety' | undefined;
  /** Pairs of an update. Default 256. */
  readonly batch?: number | undefined;
  /** Learning rate. Default 0.000006. */
  readonly lr?: number | undefined;
  /** Longest text, in tokens; pairs with a longer one are left out. Default 8192. */
  readonly maxLength?: number | undefined;
  /** Weight of the squared sum of both scores, which keeps them around 0. Default 0. */
  readonly center?: number | undefined;
}

/** Settings of trainDpo(). */
export interface DpoInput {
  /** The model to start from: a Hugging Face folder, a checkpoint or a run folder. */
  readonly model: string;
  /** A tokenizer; by default the model's own. */
  readonly tokenizer?: string | undefined;
  /** A Jinja file to render conversations with; by default that of the tokenizer. */
  readonly chatTemplate?: string | undefined;
  /** Files of preferences: .jsonl, .json or .parquet. */
  readonly data: readonly string[];
  /**
   * Prompts that are plain strings: "text" is continued as it stands, "user" is a turn of the chat template.
   * Default "text".
   */
  readonly promptAs?: 'text' | 'user' | undefined;
  /** Where to compute. Default "auto". */
  readonly device?: 'auto' | 'cpu' | 'cuda' | 'emulator' | undefined;
  /** Arithmetic; masters are f32. Default "f32". */
  readonly dtype?: 'f32' | 'bf16' | undefined;
  /** Threads of the CPU backend. */
  readonly threads?: number | undefined;
  /** Seed of the order. Default 1. */
  readonly seed?: number | undefined;
  /** Times that the data are gone through. Default 1. */
  readonly epochs?: number | undefined;
  /** Pairs to train on, at most; by default all. */
  readonly maxPairs?: number | undefined;
  /** Share of the prompts that is kept for testing. Default 0.1. */
  readonly heldOut?: number | undefined;
  /** Course of the learning rate. Default "cosine". */
  readonly schedule?: 'constant' | 'linear' | 'cosine' | undefined;
  /** What "linear" and "cosine" end at, as a factor. Default 0.1. */
  readonly floor?: number | undefined;
  /** Updates over which the learning rate rises from 0. Default 0. */
  readonly warmup?: number | undefined;
  /** Weight decay of matrices. Default 0. */
  readonly decay?: number | undefined;
  /** Largest global norm of the gradient. Default 1. */
  readonly maxNorm?: number | undefined;
  /** Tokens of one forward and backward pass; changes memory, not the result. Default 16384. */
  readonly rowsAtOnce?: number | undefined;
  /** Recompute blocks in the backward pass: less memory, more time. Default false. */
  readonly recompute?: boolean | undefined;
  /** Steps between evaluations; 0: at the start and the end. Default 0. */
  readonly evaluateEvery?: number | undefined;
  /** Held-out pairs of an evaluation, at most; 0: none. Default 2000. */
  readonly evaluatePairs?: number | undefined;
  /** Steps between checkpoints; 0: at the end only. Default 200. */
  readonly saveEvery?: number | undefined;
  /** Checkpoints kept. Default 2. */
  readonly keep?: number | undefined;
  /** Write TensorBoard event files beside the JSONL metrics. Default true. */
  readonly tensorboard?: boolean | undefined;
  /** Run folder; a run that it holds goes on. Default "runs/dpo". */
  readonly out?: string | undefined;
  /** Pairs of an update. Default 64. */
  readonly batch?: number | undefined;
  /** Learning rate. Default 0.000001. */
  readonly lr?: number | undefined;
  /** Longest text, in tokens; pairs with a longer one are left out. Default 4096. */
  readonly maxLength?: number | undefined;
  /** How closely the policy is held to the reference. Default 0.1. */
  readonly beta?: number | undefined;
  /** What a pair costs. Default "sigmoid". */
  readonly loss?: 'sigmoid' | 'ipo' | 'hinge' | undefined;
  /** Share of labels thought to be wrong; of "sigmoid". Default 0. */
  readonly smoothing?: number | undefined;
  /** Mean of log-probabilities over tokens, in place of their sum. Default false. */
  readonly average?: boolean | undefined;
  /**
   * "model": the model as it was at the start; "none": the log-probabilities alone are compared. Default
   * "model".
   */
  readonly reference?: 'model' | 'none' | undefined;
}

/** Settings of reject(). */
export interface RejectInput {
  /** The model that answers: a Hugging Face folder, a checkpoint or a run folder. */
  readonly model: string;
  /** A tokenizer; by default the model's own. */
  readonly tokenizer?: string | undefined;
  /** Where to compute. Default "auto". */
  readonly device?: 'auto' | 'cpu' | 'cuda' | 'emulator' | undefined;
  /** Arithmetic. Default "f32". */
  readonly dtype?: 'f32' | 'bf16' | undefined;
  /** Threads of the CPU backend. */
  readonly threads?: number | undefined;
  /** Seed of questions and completions. Default 1. */
  readonly seed?: number | undefined;
  /** Longest completion; one that is cut there is dropped. Default 256. */
  readonly maxTokens?: number | undefined;
  /** Longest prompt in tokens; longer ones are passed over. Default 512. */
  readonly maxPrompt?: number | undefined;
  /** Of sampling. Default 1. */
  readonly temperature?: number | undefined;
  /** Completions sampled at once, at most (never less than those of a question). Default 128. */
  readonly parallel?: number | undefined;
  /** Questions between two lines of the state file; an interrupted batch is done again. Default 32. */
  readonly batch?: number | undefined;
  /** Rewards, first the one that says right or wrong; by default the task's. */
  readonly reward?: readonly string[] | undefined;
  /** Weights of the rewards; by default 1 each. */
  readonly rewardWeights?: readonly number[] | undefined;
  /** Drop completions whose weighted reward is less. */
  readonly minReward?: number | undefined;
  /** Drop completions in which one of these patterns is not found. */
  readonly require?: readonly string[] | undefined;
  /** Drop completions in which one of these patterns is found. */
  readonly forbid?: readonly string[] | undefined;
  /** Drop completions of fewer tokens. Default 1. */
  readonly minLength?: number | undefined;
  /** Drop completions of more tokens. */
  readonly maxLength?: number | undefined;
  /** Drop completions that mix another language in; e.g. en. */
  readonly language?: string | undefined;
  /** Least share of words in the language's script. Default 0.95. */
  readonly languageShare?: number | undefined;
  /** Largest share of 8-token sequences that occurred before in the completion. Default 0.5. */
  readonly maxRepetition?: number | undefined;
  /** Drop conversations that were kept before, but for case and white space. Default true. */
  readonly dedup?: boolean | undefined;
  /** Completions kept of a question, at most; those of the highest reward. Default 4. */
  readonly most?: number | undefined;
  /** Processes that grade. Default 2. */
  readonly graderWorkers?: number | undefined;
  /** Seconds that one sample may take to grade. Default 20. */
  readonly graderTimeout?: number | undefined;
  /** Arith, countdown, gsm8k, a .jsonl of problems or a .js module. Default "arith". */
  readonly task?: string | undefined;
  /** The task's own options, as JSON. */
  readonly taskOptions?: Readonly<Record<string, unknown>> | undefined;
  /**
   * How a question is put: as it is, in the prompt of R1-Zero, which asks for <think> and <answer>, or as a
   * turn of the chat template. Default "none".
   */
  readonly template?: 'none' | 'zero' | 'chat' | undefined;
  /** Questions of the training split. Default 256. */
  readonly questions?: number | undefined;
  /** Completions of a question. Default 8. */
  readonly samples?: number | undefined;
  /** Folder of data.jsonl and its state. Default "runs/reject". */
  readonly out?: string | undefined;
}

/** Settings of synthesize(). */
export interface SynthesizeInput {
  /** The model that answers: a Hugging Face folder, a checkpoint or a run folder. */
  readonly model: string;
  /** A tokenizer; by default the model's own. */
  readonly tokenizer?: string | undefined;
  /** Where to compute. Default "auto". */
  readonly device?: 'auto' | 'cpu' | 'cuda' | 'emulator' | undefined;
  /** Arithmetic. Default "f32". */
  readonly dtype?: 'f32' | 'bf16' | undefined;
  /** Threads of the CPU backend. */
  readonly threads?: number | undefined;
  /** Seed of questions and completions. Default 1. */
  readonly seed?: number | undefined;
  /** Longest completion; one that is cut there is dropped. Default 256. */
  readonly maxTokens?: number | undefined;
  /** Longest prompt in tokens; longer ones are passed over. Default 512. */
  readonly maxPrompt?: number | undefined;
  /** Of sampling. Default 1. */
  readonly temperature?: number | undefined;
  /** Completions sampled at once, at most (never less than those of a question). Default 128. */
  readonly parallel?: number | undefined;
  /** Questions between two lines of the state file; an interrupted batch is done again. Default 32. */
  readonly batch?: number | undefined;
  /** Rewards that judge a completion. */
  readonly reward?: readonly string[] | undefined;
  /** Weights of the rewards; by default 1 each. */
  readonly rewardWeights?: readonly number[] | undefined;
  /** Drop completions whose weighted reward is less. */
  readonly minReward?: number | undefined;
  /** Drop completions in which one of these patterns is not found. */
  readonly require?: readonly string[] | undefined;
  /** Drop completions in which one of these patterns is found. */
  readonly forbid?: readonly string[] | undefined;
  /** Drop completions of fewer tokens. Default 1. */
  readonly minLength?: number | undefined;
  /** Drop completions of more tokens. */
  readonly maxLength?: number | undefined;
  /** Drop completions that mix another language in; e.g. en. */
  readonly language?: string | undefined;
  /** Least share of words in the language's script. Default 0.95. */
  readonly languageShare?: number | undefined;
  /** Largest share of 8-token sequences that occurred before in the completion. Default 0.5. */
  readonly maxRepetition?: number | undefined;
  /** Drop conversations that were kept before, but for case and white space. Default true. */
  readonly dedup?: boolean | undefined;
  /** Completions kept of a question, at most; those of the highest reward. Default 4. */
  readonly most?: number | undefined;
  /** Processes that grade. Default 2. */
  readonly graderWorkers?: number | undefined;
  /** Seconds that one sample may take to grade. Default 20. */
  readonly graderTimeout?: number | undefined;
  /** Question, answer, rewrite, summary, or a .json file. Default "answer". */
  readonly template?: string | undefined;
  /** A .jsonl whose fields fill the template. */
  readonly seeds: string;
  /** A .jsonl of examples to show; by default the template's own, or other seeds. */
  readonly examples?: string | undefined;
  /** Examples in a prompt; by default the template's number. */
  readonly shots?: number | undefined;
  /** Put the prompt as a user's turn, by the model's chat template. Default false. */
  readonly chat?: boolean | undefined;
  /** Completions of a prompt. Default 1. */
  readonly samples?: number | undefined;
  /** Times that the seeds are gone through, with other examples and completions. Default 1. */
  readonly rounds?: number | undefined;
  /** Texts that end a completion; by default the template's. */
  readonly stop?: readonly string[] | undefined;
  /** Folder of data.jsonl and its state. Default "runs/synthesize". */
  readonly out?: string | undefined;
}

/** Settings of r1(). */
export interface R1Input {
  /** Settings of all stages, by size. Default "micro". */
  readonly preset?: string | undefined;
  /** Folder of the stages and the report; by default runs/r1-<preset>. */
  readonly out?: string | undefined;
  /** Seed of every stage. Default 1. */
  readonly seed?: number | undefined;
  /** Text of the base: files, folders and globs; none takes real text that is already on the machine. */
  readonly data?: readonly string[] | undefined;
  /** A base model to start from, a Hugging Face folder, instead of training one. */
  readonly base?: string | undefined;
  /** What people prefer, for RL 2: .jsonl or .parquet; by default generated with the transcripts, else none. */
  readonly preferences?: readonly string[] | undefined;
  /** A dense model to distil into; by default the preset trains one or none. */
  readonly student?: string | undefined;
  /** Arith, countdown, gsm8k, a .jsonl or a .js module; by default the preset's. */
  readonly task?: string | undefined;
  /** The task's own options, as JSON. */
  readonly taskOptions?: Readonly<Record<string, unknown>> | undefined;
  /** Settings of stages in the place of the preset's, as JSON: {"zero":{"steps":200}}. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  /** Where to compute. Default "auto". */
  readonly device?: 'auto' | 'cpu' | 'cuda' | 'emulator' | undefined;
  /** Threads of the CPU backend. */
  readonly threads?: number | undefined;
}

/** Settings of serve(). */
export interface ServeInput {
  /** The model that answers: a Hugging Face folder, a checkpoint or a run folder. */
  readonly model: string;
  /** What clients call it; by default its folder's name. */
  readonly name?: string | undefined;
  /** A tokenizer; by default the model's own. */
  readonly tokenizer?: string | undefined;
  /** A chat template (Jinja file or text); by default the model's own. */
  readonly template?: string | undefined;
  /** Where to compute. Default "auto". */
  readonly device?: 'auto' | 'cpu' | 'cuda' | 'emulator' | undefined;
  /** Arithmetic. Default "f32". */
  readonly dtype?: 'f32' | 'bf16' | undefined;
  /** Threads of the CPU backend. */
  readonly threads?: number | undefined;
  /** Address to listen on; 0.0.0.0 for all. Default "127.0.0.1". */
  readonly host?: string | undefined;
  /** Port to listen on; 0 for any that is free. Default 8000. */
  readonly port?: number | undefined;
  /** What clients must bring as "Authorization: Bearer ..."; by default nothing. */
  readonly apiKey?: string | undefined;
  /** Longest request in tokens, its answer included; by default what the model reads, at most 16384. */
  readonly context?: number | undefined;
  /** Completions that are generated at once. Default 16. */
  readonly parallel?: number | undefined;
  /** Requests that may wait; one more is told to come later. Default 256. */
  readonly queue?: number | undefined;
  /** Tokens of the key cache; by default for all at once at their longest, or as many as there is memory for. */
  readonly cacheTokens?: number | undefined;
  /** Longest answer where the request names none. Default 4096. */
  readonly maxTokens?: number | undefined;
  /** Answers begin with thoughts in <think>..</think>: tell them apart, as reasoning_content. Default false. */
  readonly reasoning?: boolean | undefined;
}
