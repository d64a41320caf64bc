import { errorCodes } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { errorTable } from '../docs/errors-page.ts';
import {
  adrViolations,
  commandViolations,
  errorDocViolations,
  eventDocViolations,
  linkViolations,
} from './docs.rule.ts';
import { checkout, workspaceOf } from './workspace.fixture.ts';

describe('docs/errors.md', () => {
  const codes = { ONE: ['First.', 'Do this.'], TWO: ['Second.', 'Do that.'] } as const;

  it('has every code of the sdk and no other', () => {
    expect(errorDocViolations(checkout, errorCodes)).toEqual([]);
  });

  it('is refused with a code missing, a code too many, or another meaning', () => {
    const page = (table: string) => workspaceOf({ 'docs/errors.md': table });
    expect(errorDocViolations(page(errorTable(codes)), codes)).toEqual([]);
    expect(errorDocViolations(page(errorTable({ ONE: codes.ONE })), codes)).toEqual([expect.stringContaining('TWO')]);
    expect(errorDocViolations(page(errorTable(codes)), { ONE: codes.ONE })).toEqual([expect.stringContaining('TWO')]);
    const stale = { ...codes, TWO: ['Other.', 'Do that.'] } as const;
    expect(errorDocViolations(page(errorTable(stale)), codes)).toEqual([expect.stringContaining('out of date')]);
  });
});

describe('docs/events.md', () => {
  it('is what the schemas give', () => {
    expect(eventDocViolations(checkout)).toEqual([]);
  });

  it('is refused when it is not', () => {
    expect(eventDocViolations(workspaceOf({ 'docs/events.md': '# Events\n' }))).toHaveLength(1);
  });
});

describe('decisions', () => {
  it('are all linked', () => {
    expect(adrViolations(checkout)).toEqual([]);
  });

  it('are refused when one is not, or a link leads nowhere', () => {
    const files = workspaceOf({ 'docs/adr/README.md': '[a](0001-a.md)', 'docs/adr/0002-b.md': '' });
    expect(adrViolations(files)).toEqual([expect.stringContaining('0002-b'), expect.stringContaining('0001-a')]);
  });
});

describe('links', () => {
  it('lead to files', () => {
    expect(linkViolations(checkout)).toEqual([]);
  });

  it('are refused when they do not', () => {
    expect(linkViolations(workspaceOf({ 'README.md': '[a](docs/none.md) [b](https://x.y) [c](#d)' }))).toHaveLength(1);
  });
});

describe('commands in the README', () => {
  it('exist', () => {
    expect(commandViolations(checkout)).toEqual([]);
  });

  it('are refused when they do not', () => {
    const files = workspaceOf({
      'README.md': 'npm start, npm run nothing, npx cloudos get, npx cloudos fly',
      'package.json': { name: 'a', scripts: { start: '' } },
      'packages/cli/src/get.ts': "program.command('get')",
    });
    expect(commandViolations(files)).toEqual([expect.stringContaining('nothing'), expect.stringContaining('fly')]);
  });
});
