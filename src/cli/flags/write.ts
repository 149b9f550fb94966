import { writeFileSync } from 'node:fs';
import { flagSets } from './sets.js';
import { writtenFlags } from './written.js';

// The last step of `npm run build:ts`: with the flags written down, no help text needs the schemas and their library.
const sets = Object.entries(flagSets).map(async ([name, make]) => [name, await make()] as const);
writeFileSync(writtenFlags, JSON.stringify(Object.fromEntries(await Promise.all(sets))));
