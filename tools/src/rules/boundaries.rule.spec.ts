import { describe, expect, it } from 'vitest';
import { boundaryViolations, containerViolations, referenceViolations, tagViolations } from './boundaries.rule.ts';
import { checkout, workspaceOf } from './workspace.fixture.ts';

describe('boundaries', () => {
  it('hold in this workspace', () => {
    expect(boundaryViolations(checkout)).toEqual([]);
  });

  it.each([
    ['a plugin that imports the kernel', 'plugins/guest-x/src/a.ts', "import { k } from '@cloudos/kernel';"],
    ['a plugin that imports a plugin', 'plugins/guest-x/src/a.ts', "import p from '@cloudos/guest-simulated';"],
    ['a spec of a plugin that imports a plugin', 'plugins/guest-x/src/a.spec.ts', "import p from '@cloudos/log-x';"],
    ['a guest that imports the event log', 'plugins/guest-x/src/a.ts', "import { m } from '@cloudos/event-log';"],
    ['an orchestrator that imports placement', 'plugins/orchestrator-x/src/a.ts', "import '@cloudos/placement';"],
    ['the sdk importing anything', 'packages/sdk/src/a.ts', "export { k } from '@cloudos/event-log';"],
    ['the kernel importing the gateway', 'packages/kernel/src/a.ts', "import type { G } from '@cloudos/gateway';"],
    ['a dynamic import', 'packages/client/src/a.ts', "const k = await import('@cloudos/kernel');"],
    ['a path into another package', 'plugins/guest-x/src/a.ts', "import { e } from '@cloudos/sdk/src/errors.ts';"],
    ['a relative path out of the project', 'packages/client/src/a.ts', "import { e } from '../../sdk/src/errors.ts';"],
    ['a package that the table does not know', 'packages/unheard-of/src/a.ts', ''],
  ])('refuse %s', (_what, path, text) => {
    const files = workspaceOf({ [path]: text, 'plugins/log-x/src/a.ts': '' });
    expect(boundaryViolations(files)).toHaveLength(1);
  });

  it.each([
    ['plugins/log-x/src/a.ts', "import { m } from '@cloudos/event-log';"],
    ['plugins/resources-x/src/a.ts', "import { m } from '@cloudos/placement';"],
    ['plugins/guest-x/src/a.spec.ts', "import { guestConformance } from '@cloudos/conformance';"],
    ['packages/kernel/src/a.spec.ts', "import plugin from '@cloudos/log-x';"],
    ['packages/kernel/src/deep/a.ts', "import { b } from '../b.ts';"],
  ])('allow %s: %s', (path, text) => {
    expect(boundaryViolations(workspaceOf({ [path]: text, 'plugins/log-x/src/b.ts': '' }))).toEqual([]);
  });
});

describe('a path that a package exports', () => {
  const exporting = { name: '@cloudos/gateway', exports: { '.': {}, './testing': {} } };
  const files = (path: string) =>
    workspaceOf({
      'packages/gateway/package.json': exporting,
      [path]: "import { F } from '@cloudos/gateway/testing';",
    });

  it('is open to specs and to nothing else', () => {
    expect(boundaryViolations(files('packages/cli/src/a.spec.ts'))).toEqual([]);
    expect(boundaryViolations(files('packages/cli/src/a.ts'))).toHaveLength(1);
  });
});

describe('the container', () => {
  it('is used by the kernel alone', () => {
    expect(containerViolations(checkout)).toEqual([]);
  });

  it('is refused elsewhere', () => {
    const text = "import { Container } from 'inversify';";
    const files = workspaceOf({ 'packages/gateway/src/a.ts': text, 'packages/kernel/src/a.ts': text });
    expect(containerViolations(files)).toEqual([expect.stringContaining('packages/gateway/src/a.ts')]);
  });
});

describe('tags', () => {
  it('name the layer of every project', () => {
    expect(tagViolations(checkout)).toEqual([]);
  });

  it('are refused when they name another', () => {
    const manifest = { name: '@cloudos/guest-x', nx: { tags: ['layer:kernel'] } };
    expect(tagViolations(workspaceOf({ 'plugins/guest-x/package.json': manifest }))).toHaveLength(1);
  });
});

describe('project references', () => {
  it('are what the sources import', () => {
    expect(referenceViolations(checkout)).toEqual([]);
  });

  const sdk = { 'packages/sdk/src/a.ts': '' };
  const root = { 'tsconfig.json': { references: [{ path: 'packages/sdk' }, { path: 'packages/client' }] } };
  const manifest = { name: '@cloudos/client', dependencies: { '@cloudos/sdk': '0.1.0' } };

  it('are refused when one is missing, one is too many, or a project is not listed', () => {
    const source = { 'packages/client/src/a.ts': "import { e } from '@cloudos/sdk';" };
    const reference = { 'packages/client/tsconfig.json': { references: [{ path: '../sdk' }] } };
    const good = { ...sdk, ...root, ...source, 'packages/client/package.json': manifest, ...reference };
    expect(referenceViolations(workspaceOf(good))).toEqual([]);
    const none = { 'packages/client/tsconfig.json': {} };
    expect(referenceViolations(workspaceOf({ ...good, ...none }))).toEqual([expect.stringContaining('missing')]);
    const undeclared = { 'packages/client/package.json': { name: '@cloudos/client' } };
    expect(referenceViolations(workspaceOf({ ...good, ...undeclared }))).toEqual([
      expect.stringContaining('no depend'),
    ]);
    const unlisted = { 'tsconfig.json': { references: [{ path: 'packages/sdk' }] } };
    expect(referenceViolations(workspaceOf({ ...good, ...unlisted }))).toEqual([expect.stringContaining('client')]);
  });
});
