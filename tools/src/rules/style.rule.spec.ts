import { describe, expect, it } from 'vitest';
import {
  anyViolations,
  barrelViolations,
  leftoverViolations,
  lengthViolations,
  linesMax,
  nameViolations,
} from './style.rule.ts';
import { checkout, workspaceOf } from './workspace.fixture.ts';
import type { Files } from './workspace.ts';

const path = 'packages/a/src/a.ts';

describe.each<[string, (files: Files) => string[], readonly string[], readonly string[]]>([
  ['length', lengthViolations, ['x\n'.repeat(linesMax + 1)], ['x\n'.repeat(linesMax)]],
  [
    'any',
    anyViolations,
    ['let a: any;', 'f(a as any);', 'let a: Map<string, any>;', 'let a: any[];'],
    ["const any = 'as any';", '// : any', 'promise.any([])', 'const company: string = x;'],
  ],
  [
    'barrels',
    barrelViolations,
    ["export * from './b.ts';"],
    ["export { b } from './b.ts';", "// export * from './b.ts'"],
  ],
  [
    'leftovers',
    leftoverViolations,
    [`// ${'TO'}${'DO'}: later`, `// ${'FIX'}${'ME'}`, `const path = '/${'wo'}${'rk'}/main';`, `'/${'ho'}me/me/x'`],
    ['// to do it later', "import '../work/main.ts';"],
  ],
])('%s', (_name, rule, bad, good) => {
  it('holds in this workspace', () => {
    expect(rule(checkout)).toEqual([]);
  });

  it.each(bad)('refuses %j', (text) => {
    expect(rule(workspaceOf({ [path]: text })).length).toBeGreaterThan(0);
  });

  it.each(good)('allows %j', (text) => {
    expect(rule(workspaceOf({ [path]: text }))).toEqual([]);
  });
});

describe('names', () => {
  it('are kebab-case in this workspace', () => {
    expect(nameViolations(checkout)).toEqual([]);
  });

  it.each(['packages/a/src/slotDecider.ts', 'packages/a/src/Slot.ts', 'plugins/a_b/src/a.ts', 'tools/my_tool.mjs'])(
    'refuse %s',
    (bad) => {
      expect(nameViolations(workspaceOf({ [bad]: '' })).length).toBeGreaterThan(0);
    },
  );

  it.each(['packages/a/src/slot.decider.ts', 'packages/a/src/a-b/c.int.spec.ts'])('allow %s', (good) => {
    expect(nameViolations(workspaceOf({ [good]: '' }))).toEqual([]);
  });
});
