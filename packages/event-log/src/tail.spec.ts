import type { RecordedEvent } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { LogTail } from './tail.ts';

const batch = (first: number, count: number) =>
  Array.from({ length: count }, (_, at) => ({ position: first + at }) as RecordedEvent);

describe('LogTail', () => {
  it('keeps what some subscriber has not had, and lets go of what all have', () => {
    const tail = new LogTail(-1);
    const [fast, slow] = [{ next: 0 }, { next: 0 }];
    tail.follow(fast);
    const leave = tail.follow(slow);
    const batches = [batch(0, 3), batch(3, 1), batch(4, 2), batch(6, 1), batch(7, 1)];
    for (const events of batches.slice(0, 3)) tail.publish(events);
    expect(tail.since(0, 10)).toBe(batches[0]);
    fast.next = 6;
    slow.next = 4;
    tail.publish(batches[3]!);
    expect(tail.since(3, 10)).toBeUndefined();
    expect(tail.since(4, 10)).toBe(batches[2]);
    expect(tail.since(5, 10)).toEqual(batches[2]!.slice(1));
    slow.next = 5;
    tail.publish(batches[4]!);
    expect(tail.since(4, 1)).toEqual(batches[2]!.slice(0, 1));
    leave();
    fast.next = 8;
    tail.publish(batch(8, 1));
    expect(tail.since(7, 10)).toBeUndefined();
    expect(tail.head).toBe(8);
  });

  it('holds no more than its bound and a batch, however far behind a subscriber is', () => {
    const tail = new LogTail(-1, 8);
    tail.follow({ next: 0 });
    for (let first = 0; first < 100; first += 5) tail.publish(batch(first, 5));
    expect(tail.since(84, 10)).toBeUndefined();
    expect(tail.since(90, 10)?.[0]?.position).toBe(90);
  });

  it('keeps nothing but the last batch where there is no subscriber', () => {
    const tail = new LogTail(-1);
    tail.publish(batch(0, 2));
    tail.publish(batch(2, 2));
    expect(tail.since(1, 10)).toBeUndefined();
    expect(tail.since(3, 10)?.map(({ position }) => position)).toEqual([3]);
  });
});
