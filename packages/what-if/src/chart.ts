import type { SimulatedRun } from './simulation.ts';

const width = 960;
const panel = { height: 180, left: 64, right: 16, top: 28, gap: 44 };
/** Colours that are told apart by people who do not see all of them (Okabe and Ito). */
const colors = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

type Run = Pick<SimulatedRun, 'name' | 'series' | 'durationMs'>;
type Value = (sample: SimulatedRun['series'][number]) => number;

const panels: readonly { readonly title: string; readonly value: Value; readonly share: boolean }[] = [
  { title: 'cores requested of all', value: ({ cpu }) => cpu, share: true },
  { title: 'memory requested of all', value: ({ memory }) => memory, share: true },
  { title: 'instances that wait', value: ({ pending }) => pending, share: false },
  { title: 'nodes in use', value: ({ nodesInUse }) => nodesInUse, share: false },
];

/** Runs over time as one SVG document, a panel for each measure. */
export function chart(runs: readonly Run[]): string {
  const end = Math.max(1, ...runs.map(({ durationMs }) => durationMs));
  const parts = panels.map((each, at) => panelOf(each, runs, end, panel.top + 24 + at * (panel.height + panel.gap)));
  const height = panel.top + 24 + panels.length * (panel.height + panel.gap);
  const legend = runs.map(({ name }, at) => {
    const x = panel.left + at * 220;
    return `<rect x="${x}" y="10" width="12" height="12" fill="${colorOf(at)}"/><text x="${x + 18}" y="20">${xmlText(name)}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...legend,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function panelOf(
  { title, value, share }: (typeof panels)[number],
  runs: readonly Run[],
  end: number,
  top: number,
): string {
  const most = share ? 1 : Math.max(1, ...runs.flatMap(({ series }) => series.map(value)));
  const inner = width - panel.left - panel.right;
  const x = (timeMs: number) => round(panel.left + (timeMs / end) * inner);
  const y = (amount: number) => round(top + panel.height - (Math.min(amount, most) / most) * panel.height);
  const grid = [0, 0.5, 1].map((part) => {
    const label = share ? `${part * 100} %` : String(Math.round(part * most));
    const at = y(part * most);
    return `<path d="M${panel.left} ${at}H${width - panel.right}" stroke="#ddd"/><text x="${panel.left - 6}" y="${at + 4}" text-anchor="end">${label}</text>`;
  });
  const times = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const anchor = part === 0 ? 'start' : part === 1 ? 'end' : 'middle';
    return `<text x="${x(part * end)}" y="${top + panel.height + 16}" text-anchor="${anchor}" fill="#666">${inWords(part * end)}</text>`;
  });
  const lines = runs.map(({ series }, at) => {
    const points = series.map((sample) => `${x(sample.timeMs)},${y(value(sample))}`).join(' ');
    return `<polyline points="${points}" fill="none" stroke="${colorOf(at)}" stroke-width="1.5"/>`;
  });
  return [
    `<text x="${panel.left}" y="${top - 6}" font-weight="bold">${title}</text>`,
    ...grid,
    ...times,
    ...lines,
  ].join('\n');
}

function colorOf(at: number): string {
  return colors[at % colors.length]!;
}

function inWords(ms: number): string {
  if (ms < 120_000) return `${round(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${round(ms / 3_600_000)} h`;
  return `${round(ms / 86_400_000)} d`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function xmlText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
