import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { outputOption } from '../options.ts';
import { age, plural } from '../output/format.ts';
import { printStructured } from '../output/structured.ts';
import { fields } from '../output/table.ts';

export function addStatus(program: Command, context: CliContext): void {
  program
    .command('status')
    .description('show the running kernel in one look')
    .addOption(outputOption('table', 'json', 'yaml'))
    .addHelpText('after', '\nExamples:\n  cloudos status\n  cloudos status -o json')
    .action(async ({ output }: { output: string }) => {
      const { terminal } = context;
      const { client, url, fingerprint } = await connect(context);
      const [status, view, plugins] = await Promise.all([client.status(), client.view(), client.plugins()]);
      if (output === 'json' || output === 'yaml')
        return printStructured(
          terminal,
          { ...status, url, ...(fingerprint === undefined ? {} : { fingerprint }) },
          output,
        );
      const ready = view.instances.filter(({ state }) => state === 'ready').length;
      const unwell = plugins.filter(({ state }) => state !== 'active');
      const lines = fields(
        [
          ['stack', status.stack],
          ['version', status.version],
          ['kernel', `process ${status.pid}, up ${age(Date.now() - status.startedAt)}`],
          ['gateway', url],
          ...(fingerprint === undefined ? [] : [['certificate', `SHA-256 ${fingerprint}`] as [string, string]]),
          ...plugins.flatMap(({ plugin, url: at }): [string, string][] => (at === undefined ? [] : [[plugin, at]])),
          ['state', status.stateDir],
          ['log', `${plural(status.head + 1, 'event')}, the last at position ${status.head}`],
          ['nodes', `${view.nodes.filter(({ state }) => state === 'ready').length} ready of ${view.nodes.length}`],
          ['instances', `${ready} ready of ${view.instances.length}`],
          [
            'plugins',
            unwell.length === 0
              ? `${plugins.length}, all active`
              : `${plugins.length}, not active: ${unwell.map(({ plugin, state }) => `${plugin} (${state})`).join(', ')}`,
          ],
        ],
        terminal.colors,
      );
      for (const line of lines) terminal.line(line);
    });
}
