import type { SubscriptionInfo } from '@cloudos/client';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { type OutputForm, outputOption } from '../options.ts';
import { age } from '../output/format.ts';
import { printStructured } from '../output/structured.ts';
import { type Column, Table } from '../output/table.ts';

export function addSubscription(program: Command, context: CliContext): void {
  const subscription = program
    .command('subscription')
    .description('list and delete named subscriptions, whose cursor the gateway keeps')
    .addHelpText('after', '\nExamples:\n  cloudos subscription list\n  cloudos subscription delete audit');

  subscription
    .command('list')
    .description('list them, and how far each is behind')
    .addOption(outputOption('table', 'json', 'yaml', 'name'))
    .addHelpText('after', '\nExamples:\n  cloudos subscription list -o json')
    .action(async ({ output }: { output: OutputForm }) => {
      const { terminal } = context;
      const { client } = await connect(context);
      const rows = await client.subscriptions();
      if (output === 'json' || output === 'yaml') return printStructured(terminal, rows, output);
      if (output === 'name') return rows.forEach(({ name }) => void terminal.line(name));
      if (rows.length === 0) return terminal.note('none; connecting with ?subscription=<name> makes one');
      for (const line of new Table(columns(Date.now()), terminal.colors).render(rows)) terminal.line(line);
    });

  subscription
    .command('delete')
    .description('delete named subscriptions, and close their connections')
    .argument('<names...>', 'which')
    .addHelpText('after', '\nExamples:\n  cloudos subscription delete audit')
    .action(async (names: string[]) => {
      const { client } = await connect(context);
      for (const name of names) {
        const { cursor } = await client.deleteSubscription(name);
        context.terminal.line(`subscription/${name} deleted at position ${cursor}`);
      }
    });
}

function columns(now: number): Column<SubscriptionInfo>[] {
  return [
    { header: 'NAME', value: ({ name }) => name },
    { header: 'CURSOR', value: ({ cursor }) => String(cursor) },
    { header: 'BEHIND', value: ({ cursor, head }) => String(Math.max(0, head - cursor)) },
    { header: 'CONSUMERS', value: ({ consumers }) => String(consumers) },
    { header: 'OUTSTANDING', value: ({ outstanding }) => String(outstanding) },
    { header: 'FILTER', value: ({ filter }) => JSON.stringify(filter) },
    { header: 'AGE', value: ({ createdAt }) => age(now - createdAt) },
  ];
}
