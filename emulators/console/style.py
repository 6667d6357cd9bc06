"""The console's style sheet. Colours follow the system's light or dark scheme."""

STYLE = """
:root { color-scheme: light dark;
  --paper: light-dark(#ffffff, #1a1d21); --back: light-dark(#f5f6f8, #111316); --ink: light-dark(#1c1f24, #e6e8eb);
  --soft: light-dark(#5a616b, #a3aab4); --line: light-dark(#dcdfe4, #30353c); --key: light-dark(#1f5bbf, #8db7f7);
  --good: light-dark(#17683a, #7fd3a0); --good-back: light-dark(#e2f3e9, #17301f);
  --bad: light-dark(#9c2b23, #f2a29b); --bad-back: light-dark(#fbe6e4, #3a1c1a); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
header { background: var(--paper); border-bottom: 1px solid var(--line); }
.bar, main { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
.bar { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1.5rem; padding-block: .6rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem; list-style: none; margin: 0 0 0 -.6rem; padding: 0; }
nav a { display: block; padding: .3rem .6rem; border-radius: 7px; color: var(--soft); text-decoration: none; }
nav a:hover { color: var(--ink); }
nav a[aria-current] { color: var(--ink); background: var(--back); font-weight: 600; }
main { padding-block: 1.5rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
h3 { font-size: .95rem; margin: 0 0 .4rem; }
section { margin: 0 0 2rem; }
p { margin: 0 0 .75rem; }
a { color: var(--key); }
.quiet { color: var(--soft); }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: .5rem; top: .5rem; background: var(--paper); padding: .4rem .8rem; z-index: 1; }
:focus-visible { outline: 2px solid var(--key); outline-offset: 2px; border-radius: 4px; }
.scroll, .card, .list > li { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: baseline; padding: .5rem .85rem; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 600; font-size: .85rem; white-space: nowrap; }
td time, td .tag, td button { white-space: nowrap; }
td details summary { white-space: nowrap; cursor: pointer; color: var(--key); }
code, pre { font: .88em/1.5 ui-monospace, monospace; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
td code { white-space: nowrap; }
.tag { display: inline-block; padding: 0 .5rem; border-radius: 6px; background: var(--back);
  border: 1px solid var(--line); font-size: .85rem; }
.tag.good { color: var(--good); background: var(--good-back); border-color: transparent; }
.tag.bad { color: var(--bad); background: var(--bad-back); border-color: transparent; }
.card { padding: 1rem; margin: 0 0 1rem; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.cards .card { margin: 0; overflow-wrap: anywhere; }
.row { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
form { margin: 0; }
button, input, select { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line);
  border-radius: 7px; padding: .4rem .75rem; min-height: 2.25rem; }
button { cursor: pointer; }
button:hover { border-color: var(--soft); }
button.main { background: var(--key); border-color: var(--key); color: light-dark(#fff, #10203a); font-weight: 600; }
button[aria-pressed=true] { color: var(--bad); background: var(--bad-back); border-color: var(--bad); }
.fields { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 11rem), 1fr));
  align-items: end; }
.fields label { display: block; font-size: .85rem; color: var(--soft); }
.fields input, .fields select { display: block; width: 100%; margin-top: .2rem; }
.list { list-style: none; margin: 0; padding: 0; display: grid; gap: .5rem; }
.list a { display: block; padding: .7rem 1rem; color: inherit; text-decoration: none; overflow-wrap: anywhere; }
.list a:hover strong { text-decoration: underline; }
.list .meta { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; color: var(--soft);
  font-size: .88rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
td pre { min-width: 16rem; padding-top: .4rem; }
iframe { display: block; width: 100%; height: min(40rem, 60vh); border: 1px solid var(--line); border-radius: 10px;
  background: #fff; color-scheme: light; }
@media (max-width: 32rem) { .bar, main { padding-inline: 1rem; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .45rem; } }
"""
