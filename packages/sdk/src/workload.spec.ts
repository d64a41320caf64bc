import { expect, test } from 'vitest';
import { environmentVariable } from './workload.ts';

test.each([
  [{ name: 'A', value: '' }, true],
  [{ name: 'A.b-c', value: 'x=y\n"ü' }, true],
  [{ name: '', value: 'x' }, false],
  [{ name: 'A=B', value: 'x' }, false],
  [{ name: 'A\0', value: 'x' }, false],
  [{ name: 'A', value: 'x\0y' }, false],
  [{ name: 'A', secret: 'group/token' }, true],
  [{ name: 'A=B', secret: 'group/token' }, false],
  [{ name: 'A', secret: '../token' }, false],
])('a variable is what an environment can hold: %j is %s', (variable, isSound) => {
  expect(environmentVariable.safeParse(variable).success).toBe(isSound);
});
