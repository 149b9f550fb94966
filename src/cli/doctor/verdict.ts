import type { Binary, Facts, Load } from './facts.js';
import { compareVersions } from './parse.js';
import { requirements as needed } from './requirements.js';

/** What `doctor` concludes: which device training would use, and one line that says so. */
export interface Verdict {
  readonly device: 'cuda' | 'cpu' | 'none';
  readonly line: string;
  /** Why no native code runs at all. */
  readonly addonFault?: string | undefined;
  /** Why the GPU is not used. */
  readonly cudaFault?: string | undefined;
}

/** Judges the facts. Pure, so that each failure has a test without a machine that fails so. */
export function verdictOf(facts: Facts): Verdict {
  const broken = addonFault(facts);
  if (broken !== undefined) return { device: 'none', addonFault: broken, line: `Not ready: ${broken}` };
  const missing = cudaFault(facts);
  if (missing === undefined) return { device: 'cuda', line: `Ready: trains on ${gpuNames(facts)}.` };
  const cpu = `Ready: trains on the CPU (${cpuBackend(facts)}, ${cores(facts.system.cores)}).`;
  return { device: 'cpu', cudaFault: missing, line: `${cpu} CUDA not used: ${missing}` };
}

/** Why the addon cannot work here, or undefined when it does. The most basic reason comes first. */
export function addonFault(facts: Facts): string | undefined {
  const { node, install } = facts;
  if (compareVersions(node.version, needed.node) < 0 || node.napi < needed.napi)
    return `Node ${node.version} is too old; train-moe needs ${needed.node} or newer.`;
  if (install.version === undefined)
    return `train-moe must stay external: ${install.root} is not its package folder, so a bundler has moved the code. Mark train-moe as external (esbuild --external:train-moe, webpack externals).`;
  const addons = facts.binaries.filter(({ kind }) => kind === 'addon');
  const first = addons[0];
  if (first === undefined) return missingBinary(facts);
  // The loader takes the first one, so a working one behind it does not help.
  return loadFault(first, facts);
}

function missingBinary({ system }: Facts): string {
  const target = `${system.platform}-${system.arch}`;
  const build = 'build from source with cmake, make and g++ 12: npm rebuild train-moe';
  if (system.platform === 'linux' && system.glibc === undefined) return `Alpine/musl has no prebuilt binary; ${build}.`;
  if (!(needed.prebuilt as readonly string[]).includes(target))
    return `no prebuilt binary for ${target} (there is one for ${needed.prebuilt.join(', ')}); ${build}.`;
  if (compareVersions(system.glibc ?? '0', needed.glibc) < 0) return glibcFault(system.glibc);
  return `no binary is installed, neither built (build/Release) nor prebuilt (prebuilds/${target}); ${build}.`;
}

function glibcFault(found: string | undefined): string {
  return `the prebuilt binary needs glibc ${needed.glibc} or newer, found ${found ?? 'none'}; build from source: npm rebuild train-moe.`;
}

function loadFault({ path, load }: Binary, { system }: Facts): string | undefined {
  if (load.state === 'refused' && /GLIBC_\d/.test(load.reason)) return glibcFault(system.glibc);
  const fault = loadSentence(path, load);
  return fault === undefined ? undefined : `${fault} Rebuild it: npm rebuild train-moe.`;
}

/** What is wrong with a binary that was tried, or undefined when it works and has our number. */
function loadSentence(path: string, load: Load): string | undefined {
  const abi = 'abi' in load ? load.abi : undefined;
  if (abi !== undefined && abi !== needed.abi)
    return `${path} is of another version (ABI ${abi}, this package needs ${needed.abi}).`;
  switch (load.state) {
    case 'works':
      return undefined;
    case 'refused':
      return `${path} does not load: ${load.reason.replace(/\.$/, '')}.`;
    case 'crashed':
      return `${path} ends its process with ${load.signal}${load.signal === 'SIGILL' ? ' (an instruction this CPU lacks)' : ''}.`;
    case 'hung':
      return `${path} did not answer within ${load.seconds} s.`;
  }
}

/** Why training would not run on a GPU, or undefined when it would. */
export function cudaFault({ gpu, binaries }: Facts): string | undefined {
  if (gpu.driver === undefined && gpu.libcuda === undefined) return 'no NVIDIA driver found.';
  if (gpu.driver !== undefined && compareVersions(gpu.driver, needed.driver) < 0)
    return `driver ${gpu.driver} is too old: CUDA ${needed.cuda} needs driver ${needed.driver} or newer.`;
  if (gpu.libcuda === undefined)
    return `driver ${gpu.driver} is loaded, but its library libcuda.so.1 was not found; in a container, start it with the GPU passed through.`;
  const old = gpu.devices.filter(({ capability }) => compareVersions(capability, needed.capability) < 0);
  if (gpu.devices.length > 0 && old.length === gpu.devices.length)
    return `GPU "${old[0]!.name}" is ${architecture(old[0]!.capability)}; this build has ${architecture(needed.capability)} and newer.`;
  const library = binaries.find(({ kind }) => kind === 'cuda');
  if (library === undefined) return 'its library train_moe_cuda.so is not installed; build it: npm run build:cuda.';
  return loadSentence(library.path, library.load);
}

const architecture = (capability: string): string => `sm_${capability.replace('.', '')}`;
const cores = (count: number): string => `${count} core${count === 1 ? '' : 's'}`;

function gpuNames({ gpu }: Facts): string {
  return gpu.devices.map(({ name }) => name).join(', ') || 'the GPU';
}

function cpuBackend({ binaries }: Facts): string {
  const load = binaries.find(({ kind }) => kind === 'addon')!.load;
  return load.state === 'works' ? load.backend.replace(/^cpu-/, '') : '';
}
