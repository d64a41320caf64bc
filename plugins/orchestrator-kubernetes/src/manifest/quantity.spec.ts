import { describe, expect, it } from 'vitest';
import { parseQuantity } from './quantity.ts';

describe('parseQuantity', () => {
  it.each([
    ['100m', 100],
    ['0.5', 500],
    [0.5, 500],
    ['2', 2000],
    [2, 2000],
    ['1e3', 1_000_000],
    ['1u', 1],
    ['.5', 500],
    ['0.0001', 1],
    ['3.', 3000],
    ['+1', 1000],
  ])('reads cpu %s in thousandths, rounded up', (given, millis) => {
    expect(parseQuantity(given, 3)).toBe(millis);
  });

  it.each([
    ['128Mi', 134_217_728],
    ['1Gi', 1_073_741_824],
    ['1.5Gi', 1_610_612_736],
    ['0.1Ki', 103],
    ['1k', 1000],
    ['1M', 1_000_000],
    ['129e6', 129_000_000],
    ['1E3', 1000],
    ['123456789012345', 123_456_789_012_345],
    ['100m', 1],
    ['0', 0],
  ])('reads bytes %s exactly', (given, bytes) => {
    expect(parseQuantity(given, 0)).toBe(bytes);
  });

  it.each(['', 'x', '1.2.3', '-1', '1 Gi', '1KiB', '1mi', '10Ei', '1e99', null, true, Number.NaN, '.'])(
    'refuses %s',
    (given) => {
      expect(parseQuantity(given, 0)).toBeUndefined();
    },
  );
});
