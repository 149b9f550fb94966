import type { ModelName } from './models.js';

interface Named {
  readonly name: string;
}
type DType = 'f32' | 'bf16';
type Routing = 'uniform' | 'zipf';

export interface JobShapes {
  readonly train_step: Named & { readonly model: ModelName; readonly batch: number; readonly seq: number };
  readonly decode: Named & {
    readonly model: ModelName;
    readonly batch: number;
    readonly prompt: number;
    readonly new: number;
  };
  readonly grpo: Named & {
    readonly model: ModelName;
    readonly prompts: number;
    readonly group: number;
    readonly new: number;
  };
  readonly gemm: Named & { readonly m: number; readonly n: number; readonly k: number; readonly dtype: DType };
  readonly attention: Named & {
    readonly batch: number;
    readonly heads: number;
    readonly seq: number;
    readonly qk: number; // channels of a query and a key
    readonly v: number; // channels of a value
    readonly dtype: DType;
  };
  readonly mla_decode: Named & {
    readonly batch: number;
    readonly heads: number;
    readonly kv: number; // keys that a query sees
    readonly latent: number;
    readonly rope: number;
    readonly dtype: DType;
  };
  readonly moe: Named & {
    readonly tokens: number;
    readonly hidden: number;
    readonly inner: number;
    readonly experts: number;
    readonly top_k: number;
    readonly routing: Routing;
  };
  readonly cross_entropy: Named & { readonly rows: number; readonly vocab: number; readonly dtype: DType };
  readonly linear_cross_entropy: Named & {
    readonly rows: number;
    readonly hidden: number;
    readonly vocab: number;
    readonly dtype: DType;
  };
  /** `f32`: everything is f32. `master`: from bf16 gradients to f32 masters and bf16 parameters, with clipping. */
  readonly adamw: Named & { readonly params: number; readonly state: 'f32' | 'master' };
  readonly rmsnorm: Named & { readonly rows: number; readonly cols: number; readonly dtype: DType };
  readonly rope: Named & {
    readonly tokens: number;
    readonly heads: number;
    readonly dim: number;
    readonly dtype: DType;
  };
  readonly router: Named & {
    readonly tokens: number;
    readonly hidden: number;
    readonly experts: number;
    readonly top_k: number;
    readonly groups: number;
    readonly top_groups: number;
  };
  readonly copy: Named & { readonly bytes: number };
  readonly peak: Named & { readonly largest: number; readonly dtype: DType };
  readonly bpe_train: Named & { readonly vocab: number };
  readonly bpe_encode: Named & { readonly vocab: number };
}

export type JobName = keyof JobShapes;
export type Shape = JobShapes[JobName];
export type ShapeLists = { readonly [J in JobName]?: readonly JobShapes[J][] };
export type ShapeGroup = 'cpu' | 'cuda' | 'text';
