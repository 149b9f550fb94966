/** Text as HTML shows it, safe between tags and inside quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/**
 * One page that needs nothing but itself: styles and pictures are inside, nothing is fetched, no script runs. It follows
 * the reader's light or dark setting.
 * @param body HTML, its texts escaped already
 */
export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;
}

// The two series colours keep a contrast of 3:1 to both backgrounds and differ in lightness, not in hue alone.
const STYLE = `
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #fff; --ink: #1d1f21; --soft: #62666b; --line: #dcd9d2;
  --one: #1f6feb; --two: #c2571a; --heat: 31 111 235; --right: #1a7f4b; --wrong: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --card: #1c1f23; --ink: #e6e4df; --soft: #9aa0a6;
  --line: #33373d; --one: #6ea8fe; --two: #f0975a; --heat: 110 168 254; --right: #5ecb93; --wrong: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; }
.card h3 { margin-top: 0; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .4rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; color: var(--soft); font-size: .85rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1rem; margin: 1rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; min-width: 0; }
svg { width: 100%; height: auto; display: block; overflow: visible; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.axis { stroke: var(--line); stroke-width: 1; }
.series { fill: none; stroke-width: 2; stroke-linejoin: round; }
.one { stroke: var(--one); } .two { stroke: var(--two); stroke-dasharray: 5 3; }
.bar-one { fill: var(--one); } .bar-two { fill: var(--two); }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin: 0 .35rem 0 .9rem; vertical-align: -1px; }
.key:first-child { margin-left: 0; }
.sample { border-left: 3px solid var(--line); padding: .1rem 0 .1rem .8rem; margin: .7rem 0; overflow-wrap: anywhere; }
.sample.right { border-color: var(--right); } .sample.wrong { border-color: var(--wrong); }
.sample b { font-weight: 600; } .right b.mark { color: var(--right); } .wrong b.mark { color: var(--wrong); }
code, pre { font: .85rem/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
`;
