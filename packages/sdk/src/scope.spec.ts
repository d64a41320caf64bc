import { describe, expect, it } from 'vitest';
import { Scope } from './scope.ts';

describe('a scope', () => {
  it('closes last in, first out, one after another, once', async () => {
    const scope = new Scope('test');
    const order: string[] = [];
    for (const name of ['log', 'host', 'guest']) {
      await scope.acquire(
        name,
        () => name,
        async (opened) => {
          await Promise.resolve();
          order.push(opened);
        },
      );
    }
    expect(scope.open()).toEqual(['log', 'host', 'guest']);
    await Promise.all([scope.close(), scope.close()]);
    expect(order).toEqual(['guest', 'host', 'log']);
    expect(scope.open()).toEqual([]);
  });

  it('goes on closing after a failure and reports them all', async () => {
    const scope = new Scope('test');
    const closed: string[] = [];
    scope.defer('a', () => void closed.push('a'));
    scope.defer('b', () => Promise.reject(new Error('b is stuck')));
    scope.defer('c', () => {
      throw new Error('c is broken');
    });
    await expect(scope.close()).rejects.toThrow('closing test: c is broken; b is stuck');
    expect(closed).toEqual(['a']);
  });

  it('names a resource that does not close in time, and moves on', async () => {
    const scope = new Scope('test');
    const closed: string[] = [];
    scope.defer('first', () => void closed.push('first'));
    scope.defer('the hanging one', () => new Promise(() => {}), 5);
    await expect(scope.close()).rejects.toMatchObject({
      errors: [{ code: 'SCOPE_CLOSE_TIMEOUT', message: 'test: the hanging one did not close in 5 ms' }],
    });
    expect(closed).toEqual(['first']);
  });

  it('closes at once what was still opening when it closed', async () => {
    const scope = new Scope('test');
    const closed: string[] = [];
    let opened = (_: string) => {};
    const acquiring = scope.acquire(
      'late',
      () =>
        new Promise<string>((resolve) => {
          opened = resolve;
        }),
      (name) => void closed.push(name),
    );
    await scope.close();
    opened('late');
    await expect(acquiring).rejects.toThrow('scope test is closed');
    expect(closed).toEqual(['late']);
  });

  it('closes its children, and forgets those that closed before', async () => {
    const scope = new Scope('parent');
    const closed: string[] = [];
    const early = scope.child('early');
    early.defer('x', () => void closed.push('early'));
    scope.child('late').defer('y', () => void closed.push('late'));
    await early.close();
    expect(scope.open()).toEqual(['late']);
    await scope.close();
    expect(closed).toEqual(['early', 'late']);
  });

  it('undoes a deferred step early, once', async () => {
    const scope = new Scope('test');
    let undone = 0;
    const undo = scope.defer('step', () => void undone++);
    await undo();
    await undo();
    await scope.close();
    expect(undone).toBe(1);
  });
});
