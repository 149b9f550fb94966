import { relative } from 'node:path';
import { formatBytes } from '../../terminal/format.js';
import type { Facts, Load } from './facts.js';
import type { Verdict } from './verdict.js';

/** The rows of the report: what it is about, and what was found. The verdict is not among them. */
export function reportRows(facts: Facts, verdict: Verdict): (readonly [subject: string, found: string])[] {
  const { system, node, install, gpu } = facts;
  const libc = system.glibc === undefined ? 'no glibc' : `glibc ${system.glibc}`;
  return [
    ['system', `${system.name}, ${system.platform}-${system.arch}, kernel ${system.kernel}, ${libc}`],
    [
      'cpu',
      `${system.cpu}, ${system.cores} usable cores; ${system.features.join(' ') || 'no vector extension we use'}`,
    ],
    ['memory', `${formatBytes(system.available)} free of ${formatBytes(system.memory)}`],
    ['node', `${node.version}, Node-API ${node.napi}${node.packageManager ? `, under ${node.packageManager}` : ''}`],
    ['package', `${install.version ?? 'not found'} in ${install.root}`],
    ...facts.binaries.map(
      ({ path, bytes, kind, load }) =>
        [kind, `${relative(install.root, path)}, ${(bytes / 1e6).toFixed(1)} MB: ${loadText(load)}`] as const,
    ),
    ['driver', `${gpu.driver ?? 'none'}; libcuda.so.1 ${gpu.libcuda ?? 'not found'}`],
    ...gpu.devices.map(
      ({ name, capability, memory }) => ['gpu', `${name}, compute ${capability}, ${formatBytes(memory)}`] as const,
    ),
    ...(gpu.devices.length === 0 ? [['gpu', `none listed${gpu.listError ? ` (${gpu.listError})` : ''}`] as const] : []),
    ...(verdict.cudaFault ? [['cuda', `not used: ${verdict.cudaFault}`] as const] : []),
  ];
}

function loadText(load: Load): string {
  const abi = 'abi' in load && load.abi !== undefined ? `ABI ${load.abi}, ` : '';
  switch (load.state) {
    case 'works':
      return `${abi}works as ${load.backend}${load.isas ? ` (can run ${load.isas.join(', ')})` : ''}`;
    case 'refused':
      return `${abi}does not load: ${load.reason}`;
    case 'crashed':
      return `ended its process with ${load.signal}`;
    case 'hung':
      return `did not answer within ${load.seconds} s`;
  }
}
