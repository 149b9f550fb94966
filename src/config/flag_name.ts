/** A setting as it is written on the command line of commands whose settings have no sections of their own: `--max-norm`. */
export const flagOf = (path: string): string => `--${path.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
