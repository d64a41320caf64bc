import { describe, expect, test } from 'vitest';
import { ToolsOfHost } from './host-commands.ts';

const tools = new ToolsOfHost(60_000);

describe('the tools of the host', () => {
  test('get their input and tell their end, whatever it is', async () => {
    expect(await tools.run(['sh', '-c', 'cat; echo err >&2; exit 3'], 'in')).toEqual({
      exitCode: 3,
      stdout: 'in',
      stderr: 'err\n',
    });
    expect(await tools.run(['sh', '-c', 'kill -9 $$'])).toMatchObject({ exitCode: 137 });
    expect((await tools.run(['env'])).stdout.split('\n').sort()).toEqual([
      '',
      'LC_ALL=C',
      expect.stringMatching(/^PATH=/),
    ]);
  });

  test('that are not there, or do not end, are said to be', async () => {
    await expect(tools.run(['/no/such/tool'])).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
    await expect(new ToolsOfHost(100).run(['sleep', '1000'])).rejects.toThrow('has not ended in 100 ms');
    const absent = tools.open(['/no/such/tool']);
    expect(await absent.ended).toBe(127);
  });

  test('that stay open are written to, listened to, and killed', async () => {
    const cat = tools.open(['cat']);
    let text = '';
    cat.onOutput(({ data }) => {
      text += Buffer.from(data).toString();
    });
    await cat.write(Buffer.from('to and fro'));
    cat.end();
    expect([await cat.ended, text]).toEqual([0, 'to and fro']);
    const sleep = tools.open(['sleep', '1000']);
    sleep.kill();
    expect(await sleep.ended).toBe(137);
  });
});
