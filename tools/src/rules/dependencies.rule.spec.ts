import { describe, expect, it } from 'vitest';
import { dependencyViolations } from './dependencies.rule.ts';
import { checkout, workspaceOf } from './workspace.fixture.ts';

const project = (manifest: object, sources: Record<string, string>) =>
  workspaceOf({
    'package.json': { name: 'root', devDependencies: { vitest: '1' } },
    'packages/a/package.json': { name: '@cloudos/a', ...manifest },
    ...Object.fromEntries(Object.entries(sources).map(([name, text]) => [`packages/a/src/${name}`, text])),
  });

describe('dependencies', () => {
  it('of this workspace are declared and used', () => {
    expect(dependencyViolations(checkout)).toEqual([]);
  });

  it('are refused when one is imported and not declared', () => {
    expect(dependencyViolations(project({}, { 'a.ts': "import 'rxjs';" }))).toEqual([expect.stringContaining('rxjs')]);
  });

  it('are refused when code uses what is declared for specs only', () => {
    const files = project({ devDependencies: { rxjs: '7' } }, { 'a.ts': "import 'rxjs';" });
    expect(dependencyViolations(files)).toEqual([expect.stringContaining('dependencies lacks rxjs')]);
  });

  it('are refused when one is declared and not used, or used by specs only', () => {
    expect(dependencyViolations(project({ dependencies: { rxjs: '7' } }, { 'a.ts': '' }))).toHaveLength(1);
    expect(dependencyViolations(project({ devDependencies: { rxjs: '7' } }, { 'a.ts': '' }))).toHaveLength(1);
    const specOnly = project({ dependencies: { rxjs: '7' } }, { 'a.spec.ts': "import 'rxjs';" });
    expect(dependencyViolations(specOnly)).toEqual([expect.stringContaining('no source uses')]);
  });

  it('count as used by types, by the tools of the root, and by name', () => {
    const files = project(
      { dependencies: { ws: '8', '@cloudos/b': '1' }, devDependencies: { '@types/ws': '8' } },
      { 'a.ts': "import ws from 'ws';\nload('@cloudos/b');", 'a.spec.ts': "import { it } from 'vitest';" },
    );
    expect(dependencyViolations(files)).toEqual([]);
  });
});
