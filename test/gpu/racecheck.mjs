/**
 * The one kernel that racecheck misjudges (kernels/README.md, State): it alone reads stages of a ring by ordinary loads, and a warp
 * gives a stage back by one lane's arrival behind a __syncwarp. Part of its mangled name.
 */
export const misjudged = 'hopperKeyKernel';

/** Threads of a block before the first that reads stages: the producer's warpgroup, of which thread 0 alone writes them. */
const producers = 128;

/**
 * What a log of `racecheck --racecheck-report hazard` for that kernel says beside the known: that the producer wrote a stage after
 * a consumer had read it. Any other kind of hazard, other threads, or another complaint of the tool is a finding.
 */
export function findings(log) {
  const lines = log.split('\n').map((line) => line.replace(/^=+ */, ''));
  const found = lines.some((line) => line.startsWith('RACECHECK SUMMARY')) ? [] : ['the log has no summary'];
  lines.forEach((line, i) => {
    if (!/^(Error|Warning|Internal|Fatal)\b/.test(line)) return;
    const known =
      /^\w+: Potential WAR hazard detected at __shared__ /.test(line) &&
      Number(/^Read Thread \((\d+), ?0, ?0\)/.exec(lines[i + 1] ?? '')?.[1]) >= producers &&
      /^Write Thread \(0, ?0, ?0\)/.test(lines[i + 2] ?? '');
    if (!known) found.push(line);
  });
  return found;
}

/** How many hazards the log has of all kinds. */
export const hazards = (log) => log.split('\n').filter((line) => /Potential \w+ hazard detected/.test(line)).length;
