import { spawnSync } from 'node:child_process';

/** The C++ compiler that tests call. */
export const compiler = process.env.CXX ?? 'g++';

const FLAGS = ['-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

/**
 * Flags that end a program where it reads or writes beside a buffer or where behaviour is undefined; undefined where the compiler
 * or its libraries of sanitizers are missing.
 */
export function sanitizers(): readonly string[] | undefined {
  const words = [...FLAGS, '-x', 'c++', '-', '-o', '/dev/null'];
  return spawnSync(compiler, words, { input: 'int main() {}' }).status === 0 ? FLAGS : undefined;
}
