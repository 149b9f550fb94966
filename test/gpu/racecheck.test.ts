import { describe, expect, it } from 'vitest';
import { findings, hazards } from './racecheck.mjs';

/* Which reports of racecheck about the keys' kernel `npm run test:gpu` lets pass. */

const summary = '========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)';
const hazard = (kind: string, first: string, second: string) =>
  [
    `========= Error: Potential ${kind} hazard detected at __shared__ 0x2b410 in block (1,0,0) :`,
    `=========     ${first} at probabilities+0xee0 in attention_hopper_keys.cu:80`,
    `=========     ${second} at produceRows+0x61b0 in attention_hopper_keys.cu:49`,
    '=========     Current Value : 0, Incoming Value : 64',
    '========= ',
  ].join('\n');
const reuse = hazard('WAR', 'Read Thread (159,0,0)', 'Write Thread (0,0,0)');

describe('the log of racecheck for the kernel that it misjudges', () => {
  it('a stage that the producer fills again after a consumer has read it is known', () => {
    const log = ['========= COMPUTE-SANITIZER', reuse, reuse, summary].join('\n');
    expect(findings(log)).toEqual([]);
    expect(hazards(log)).toBe(2);
    expect(findings(`========= COMPUTE-SANITIZER\n${summary}\n`)).toEqual([]);
  });

  it.each([
    ['a read before what it waits for', hazard('RAW', 'Write Thread (0,0,0)', 'Read Thread (159,0,0)')],
    ['two writes', hazard('WAW', 'Write Thread (0,0,0)', 'Write Thread (0,0,0)')],
    ['a write by another thread', hazard('WAR', 'Read Thread (159,0,0)', 'Write Thread (130,0,0)')],
    ['a read by the producers', hazard('WAR', 'Read Thread (5,0,0)', 'Write Thread (0,0,0)')],
    ['a complaint of another kind', '========= Warning: Maximum number of hazards reached.'],
  ])('%s is a finding', (_, text) => {
    expect(findings([reuse, text, summary].join('\n'))).toHaveLength(1);
  });

  it('a log without a summary is a finding: the tool has not ended', () => {
    expect(findings(reuse)).toEqual(['the log has no summary']);
  });
});
