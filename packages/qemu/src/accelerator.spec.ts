import { expect, test } from 'vitest';
import { judge } from './accelerator.ts';

test('KVM is chosen where it is not slower, and the figures are told', () => {
  expect(judge(38, 41)).toMatchObject({ accelerator: 'kvm', kvmMs: 38, tcgMs: 41 });
  expect(judge(80, 41)).toMatchObject({ accelerator: 'kvm' });
  expect(judge(38, undefined)).toMatchObject({ accelerator: 'kvm' });
});

test('KVM that emulates, hangs or dies is not, and the measurement says why', () => {
  expect(judge(490, 41)).toMatchObject({ accelerator: 'tcg', reason: expect.stringMatching(/unsound.*490 ms.*41 ms/) });
  expect(judge(undefined, 41)).toMatchObject({ accelerator: 'tcg', reason: expect.stringContaining('not in 5000 ms') });
  expect(judge(undefined, undefined)).toMatchObject({ accelerator: 'tcg' });
});
