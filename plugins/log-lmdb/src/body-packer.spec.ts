import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { BodyPacker } from './body-packer.ts';

const seed = Number(process.env.CLOUDOS_SEED ?? Date.now() % 1_000_000);

/** Both packers over the same structures. */
function pair() {
  const packr = new Packr({ maxSharedStructures: 256, getStructures: () => [], saveStructures: () => {} });
  const shared = () => {
    const { structures } = packr as unknown as { structures: string[][] & { sharedLength?: number } };
    return structures.slice(0, structures.sharedLength ?? 0);
  };
  const packer = new BodyPacker(shared);
  const pack = (data: readonly unknown[], types: readonly string[] = data.map(() => 'T')) =>
    packer.pack([1, data, null], data, (index) => types[index]!);
  return { packr, pack };
}

function randomData(random: () => number, depth = 0): unknown {
  const dice = Math.floor(random() * (depth > 3 ? 7 : 9));
  if (dice === 0) return Math.floor(random() * 2 ** (random() * 40)) * (random() < 0.5 ? -1 : 1) || 0;
  if (dice === 1) return random() * 1e9;
  if (dice === 2) return ['a', 'ä', '€', '😀'][Math.floor(random() * 4)]!.repeat(Math.floor(random() * random() * 400));
  if (dice === 3) return 'x'.repeat(Math.floor(random() ** 4 * 100_000));
  if (dice === 4) return random() < 0.5;
  if (dice === 5) return null;
  if (dice === 6) return undefined;
  const size = Math.floor(random() * 5);
  if (dice === 7) return Array.from({ length: size * 5 }, () => randomData(random, depth + 1));
  const keys = ['a', 'b', 'node', 'é', '8080'].filter(() => random() < 0.5);
  return Object.fromEntries(keys.map((key) => [key, randomData(random, depth + 1)]));
}

describe(`BodyPacker (CLOUDOS_SEED=${seed})`, () => {
  it('leaves what it has not seen to msgpackr, and packs the like from then on', () => {
    const { packr, pack } = pair();
    const data = [{ a: 1, b: { c: 'x' } }];
    expect(pack(data)).toBeUndefined();
    packr.pack([1, data, null]);
    const like = [{ a: 'other', b: { c: null } }];
    expect(packr.unpack(pack(like)!)).toEqual([1, like, null]);
    expect(pack([{ a: 1, b: { d: 1 } }])).toBeUndefined();
    expect(pack([{ b: { c: 1 }, a: 1 }])).toBeUndefined();
  });

  it('leaves what is no plain data to msgpackr', () => {
    const { packr, pack } = pair();
    for (const odd of [
      new Date(),
      new Map(),
      Object.create(null),
      new (class Own {})(),
      1n,
      Buffer.of(1),
      '\ud83d',
      () => 1,
    ]) {
      expect(pack([odd])).toBeUndefined();
    }
    expect(packr.unpack(pack([0])!)).toEqual([1, [0], null]);
  });

  it('gives what msgpackr reads as the same, whatever the data', () => {
    const { packr, pack } = pair();
    let state = seed;
    const random = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
    let packed = 0;
    for (let round = 0; round < 3000; round++) {
      const data = Array.from({ length: 1 + Math.floor(random() * 4) }, () => randomData(random));
      const types = data.map(() => `T${Math.floor(random() * 3)}`);
      const bytes = pack(data, types);
      if (!bytes) packr.pack([1, data, null]);
      else {
        packed++;
        expect(packr.unpack(bytes), `seed ${seed}, round ${round}`).toEqual([1, data, null]);
      }
    }
    expect(packed).toBeGreaterThan(300);
  });

  it('numbers structures as msgpackr does, all of them', () => {
    const { packr, pack } = pair();
    const records = Array.from({ length: 200 }, (_, n) => ({ [`key-${n}`]: n, same: 'x' }));
    for (const record of records) packr.pack([1, [record], null]);
    for (const record of records) expect(packr.unpack(pack([record])!)).toEqual([1, [record], null]);
  });
});
