import { expect, test } from 'vitest';
import { explainEnd } from './explain-end.ts';

test('the end of QEMU is that of the program, of the machine, or of QEMU alone', async () => {
  const explain = (record: string, status: number | 'lost', oomKills = 0, powersOff = true) =>
    explainEnd(record, { status, oomKills }, async () => 'Kernel panic', { powersOff });
  expect(await explain('end 3 0 0\n', 0)).toEqual({ exitCode: 3, signal: null, reason: 'exited' });
  expect(await explain('end -1 9 1\n', 0)).toMatchObject({ signal: 'SIGKILL', reason: 'oom-killed' });
  expect(await explain('end -1 15 1\n', 0)).toEqual({ exitCode: null, signal: 'SIGTERM', reason: 'signalled' });
  expect(await explain('', 0)).toMatchObject({
    exitCode: 0,
    reason: 'exited',
    message: 'the machine shut itself down',
  });
  expect(await explain('', 0, 0, false)).toMatchObject({ exitCode: null, reason: 'lost' });
  expect(await explain('', 137)).toMatchObject({ signal: 'SIGKILL', reason: 'signalled' });
  expect(await explain('', 137, 1)).toMatchObject({ reason: 'oom-killed' });
  expect(await explain('', 1)).toMatchObject({ reason: 'lost', message: expect.stringContaining('Kernel panic') });
  expect(await explain('end 1\n', 'lost')).toMatchObject({ reason: 'lost' });
});
