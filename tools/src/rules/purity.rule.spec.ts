import { describe, expect, it } from 'vitest';
import { purityViolations } from './purity.rule.ts';
import { checkout, workspaceOf } from './workspace.fixture.ts';

describe('policies', () => {
  it('have no clock, no randomness and no I/O', () => {
    expect(purityViolations(checkout)).toEqual([]);
  });

  it.each([
    'const now = Date.now();',
    'const now = new Date();',
    'const r = Math.random();',
    'setTimeout(f, 1);',
    'const t = performance.now();',
    "import { readFileSync } from 'node:fs';",
    "import { newId } from '@cloudos/sdk';",
    'const home = process.env.HOME;',
    'async function f() {}',
  ])('are refused %s', (text) => {
    for (const path of [
      'plugins/resources-x/src/a.ts',
      'plugins/orchestrator-x/src/a.ts',
      'packages/placement/src/a.ts',
    ]) {
      expect(purityViolations(workspaceOf({ [path]: text }))).toEqual([expect.stringContaining(path)]);
    }
  });

  it('may name all that in comments and texts, read a given time, and use anything in specs', () => {
    const files = workspaceOf({
      'plugins/resources-x/src/a.ts': "// Date.now()\nconst text = 'Math.random()';\nconst at = new Date(now);",
      'plugins/resources-x/src/a.spec.ts': 'Date.now();',
      'plugins/guest-x/src/a.ts': 'Date.now();',
    });
    expect(purityViolations(files)).toEqual([]);
  });
});
