import { ABI } from '../../abi.js';

/** What a binary of this package needs; compared with facts by verdict.ts. Tests compare these with the sources. */
export const requirements = {
  /** The number every native file exports (kAbi in native/backend.h). */
  abi: ABI,
  node: '20.19.0',
  napi: 8,
  /** Targets that releases carry prebuilt binaries for. */
  prebuilt: ['linux-x64'],
  /** The newest glibc that a binary asks for: that of the machine releases are built on. */
  glibc: '2.34',
  /** The CUDA toolkit of the prebuilt GPU library and the oldest driver that runs it. */
  cuda: '13.0',
  driver: '580',
  /** The oldest GPU that kernels are compiled for. */
  capability: '8.0',
} as const;
