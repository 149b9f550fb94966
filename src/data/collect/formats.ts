/** How a file's documents are found. `text`: prose, long files cut. `whole`: a file is a document (Markdown, code). */
export type Format = 'text' | 'whole' | 'jsonl' | 'csv' | 'tsv' | 'parquet';

const DATA: Readonly<Record<string, Format>> = {
  txt: 'text',
  text: 'text',
  md: 'whole',
  markdown: 'whole',
  mdx: 'whole',
  rst: 'whole',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  csv: 'csv',
  tsv: 'tsv',
  parquet: 'parquet',
};

const CODE = new Set(
  (
    'ada adb ads agda asm awk bash bib bzl c cc clj cljs cljc cmake cob coffee cpp cr cs css cts cu cuh cxx d dart ' +
    'dockerfile el elm erl ex exs f f03 f90 f95 fish for frag fs fsi fsx glsl go gradle groovy h hh hpp hrl hs htm ' +
    'html hxx idr ipp java jl js jsx kt kts less lean lisp lua m makefile metal mjs cjs mk ml mli mm mts nim nix pas ' +
    'php pl pm proto ps1 pro py pyi pyx qml r rb rkt rs s sass scala scm scss sh sml sol sql sv svelte swift tcl ' +
    'tex tf thrift toml ts tsx v vala vb vert vhd vhdl vim vue wgsl xs yaml yml zig zsh'
  ).split(' '),
);

export interface FileKind {
  readonly format: Format;
  readonly gzip: boolean;
}

/** What a file's name says about it; undefined for a name that promises no text. */
export function kindOf(name: string): FileKind | undefined {
  const lower = name.toLowerCase();
  const gzip = lower.endsWith('.gz');
  const plain = gzip ? lower.slice(0, -3) : lower;
  const dot = plain.lastIndexOf('.');
  // `Makefile` and `Dockerfile` have no dot: the name itself is in the table.
  const extension = plain.slice(dot + 1);
  const format = Object.hasOwn(DATA, extension) ? DATA[extension] : CODE.has(extension) ? 'whole' : undefined;
  const named = dot > 0 || extension === 'makefile' || extension === 'dockerfile';
  if (format === undefined || !named || (gzip && format === 'parquet')) return undefined;
  return { format, gzip };
}

/** The endings a user may be told about. */
export const FORMATS_SENTENCE =
  '.txt .md .jsonl .csv .tsv (each also .gz), .parquet, and source code by its usual endings';
