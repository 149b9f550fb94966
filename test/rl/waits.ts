import { vi } from 'vitest';
import { addon } from '../../src/native.js';

/** Runs `body` while every copy to the host, and the wait for it, is written down: `read` does both. */
export async function notingReads<T>(events: string[], body: () => Promise<T>): Promise<T> {
  const spies = (['read', 'beginRead', 'endRead'] as const).map((name) => {
    const own = addon[name] as (...args: unknown[]) => unknown;
    return vi.spyOn(addon, name).mockImplementation(((...args: unknown[]) => {
      events.push(name);
      return own(...args);
    }) as never);
  });
  try {
    return await body();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
