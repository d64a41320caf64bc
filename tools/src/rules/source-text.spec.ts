import { describe, expect, it } from 'vitest';
import { codeOnly, importsOf, packageOf } from './source-text.ts';

describe('imports of a source', () => {
  it('are found in every form', () => {
    const text = [
      "import a from 'a';",
      "import type { B } from 'b';",
      'import {',
      '  c,',
      "} from 'c';",
      "import 'd';",
      "export { e } from 'e';",
      "const f = await import('./f');",
    ].join('\n');
    expect(importsOf(text)).toEqual(['a', 'b', 'c', 'e', 'd', './f']);
  });

  it('are not found in comments', () => {
    expect(
      importsOf("// import a from 'a';\n/*\nimport b from 'b';\n*/\nconst url = 'http://x'; import('./c');"),
    ).toEqual(['./c']);
  });

  it.each([
    ['node:fs', undefined],
    ['./a.ts', undefined],
    ['@cloudos/sdk', '@cloudos/sdk'],
    ['@cloudos/sdk/inside', '@cloudos/sdk'],
    ['rxjs/operators', 'rxjs'],
  ])('of %s belong to %s', (module, name) => {
    expect(packageOf(module)).toBe(name);
  });
});

describe('code alone', () => {
  it('has no comments and no strings, and keeps its lines', () => {
    expect(codeOnly("a('Date.now'); // Date.now\n/* x\n */b")).toBe("a('        ');            \n    \n   b");
  });
});
