/** What `doctor` knows of the machine and the installation. Plain data: verdict.ts judges it, report.ts prints it. */
export interface Facts {
  readonly system: SystemFacts;
  readonly node: NodeFacts;
  readonly install: InstallFacts;
  readonly binaries: readonly Binary[];
  readonly gpu: GpuFacts;
}

export interface SystemFacts {
  readonly platform: string;
  readonly arch: string;
  /** The distribution's own name, e.g. "Debian GNU/Linux 12 (bookworm)". */
  readonly name: string;
  readonly kernel: string;
  /** Version of glibc; absent on musl and outside Linux. */
  readonly glibc?: string | undefined;
  readonly cpu: string;
  /** Those instruction-set extensions that kernels use. */
  readonly features: readonly string[];
  readonly cores: number;
  /** Bytes; where a container is limited, the limit. */
  readonly memory: number;
  readonly available: number;
}

export interface NodeFacts {
  readonly version: string;
  readonly napi: number;
  /** "npm 11.1.0", "pnpm 10.2.0": whoever started this process, when it said so. */
  readonly packageManager?: string | undefined;
}

export interface InstallFacts {
  readonly root: string;
  /** Absent when the root holds no package.json of ours: the code was bundled or moved. */
  readonly version?: string | undefined;
}

/** What a child process found when it loaded a binary and computed something with it. */
export type Load =
  | { readonly state: 'works'; readonly abi: number; readonly backend: string; readonly isas?: readonly string[] }
  | { readonly state: 'refused'; readonly reason: string; readonly abi?: number | undefined }
  | { readonly state: 'crashed'; readonly signal: string }
  | { readonly state: 'hung'; readonly seconds: number };

export interface Binary {
  readonly path: string;
  readonly kind: 'addon' | 'cuda' | 'emulator';
  readonly bytes: number;
  readonly load: Load;
}

export interface GpuFacts {
  /** Version of the NVIDIA kernel driver, e.g. "580.65.06". */
  readonly driver?: string | undefined;
  /** Where libcuda.so.1 is. */
  readonly libcuda?: string | undefined;
  readonly devices: readonly Gpu[];
  /** Why nvidia-smi gave no list. */
  readonly listError?: string | undefined;
}

export interface Gpu {
  readonly name: string;
  /** Compute capability: "9.0" is sm_90. */
  readonly capability: string;
  /** Bytes. */
  readonly memory: number;
}
