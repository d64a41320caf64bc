import { expect, test } from 'vitest';
import { abandonedMs, imagesMax, superfluous, usedMs } from './template-limits.ts';

const now = 1_800_000_000_000;
const ago = (name: string, ms: number) => ({ name, usedAt: now - ms });

test('the templates used last are kept, and all that began a guest a moment ago', () => {
  const old = Array.from({ length: imagesMax + 2 }, (_, index) => ago(`t${index}`, usedMs + index + 1));
  expect(superfluous(old.slice(0, imagesMax - 1), now)).toEqual([]);
  expect(superfluous([...old].reverse(), now)).toEqual(['t15', 't16', 't17']);
  const recent = Array.from({ length: imagesMax }, (_, index) => ago(`r${index}`, usedMs - index));
  expect(superfluous([...recent, ago('old', usedMs + 1)], now)).toEqual(['old']);
});

test('what a crash has left half made is removed, what is being made is not', () => {
  const half = [ago('a.new-1', abandonedMs + 1), ago('b.new-2', abandonedMs - 1)];
  expect(superfluous(half, now)).toEqual(['a.new-1']);
});
