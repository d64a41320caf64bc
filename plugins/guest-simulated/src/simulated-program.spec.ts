import { describe, expect, it } from 'vitest';
import { readProgram } from './simulated-program.ts';

const read = (...words: string[]) => readProgram(words, { hostname: 'web-1', variables: { COLOR: 'red' } });

describe('readProgram', () => {
  it('runs for ever without a command, and for one that no convention covers', () => {
    expect(read().end).toBeUndefined();
    expect(read('sleep').end).toBeUndefined();
    expect(read('node', 'server.js')).toMatchObject({ unknown: 'node', stubborn: false });
  });

  it('ends as it is told', () => {
    expect(read('exit', '3').end).toEqual({ exitCode: 3, signal: null, reason: 'exited', afterMs: 0 });
    expect(read('crash-after', '500').end).toEqual({ exitCode: 1, signal: null, reason: 'exited', afterMs: 500 });
    expect(read('/bin/sleep', '2').end).toEqual({ exitCode: 0, signal: null, reason: 'exited', afterMs: 2_000 });
    expect(read('signal', 'SIGSEGV').end).toMatchObject({ exitCode: null, signal: 'SIGSEGV', reason: 'signalled' });
    expect(read('oom', '20').end).toEqual({ exitCode: null, signal: 'SIGKILL', reason: 'oom-killed', afterMs: 20 });
  });

  it('prints with variables filled in', () => {
    expect(read('echo', 'it', 'is', '$COLOR').prints).toEqual([{ stream: 'stdout', text: 'it is red' }]);
  });

  it('runs the statements of a script in order', () => {
    const script = read('/bin/sh', '-c', 'echo "one two"; echo bad >&2; sleep 0.25; exit 4; echo never');
    expect(script.prints).toEqual([
      { stream: 'stdout', text: 'one two' },
      { stream: 'stderr', text: 'bad' },
    ]);
    expect(script.end).toEqual({ exitCode: 4, signal: null, reason: 'exited', afterMs: 250 });
    expect(read('sh', '-c', "trap '' TERM; echo up; sleep").stubborn).toBe(true);
    expect(read('sh', '-c', "trap '' TERM; echo up; sleep").end).toBeUndefined();
  });

  it('names a command that does not exist', () => {
    expect(read('/no/such/thing').missing).toBe('/no/such/thing');
    expect(read('no-such-command').missing).toBe('no-such-command');
  });
});
