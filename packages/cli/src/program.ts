import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addApply } from './commands/apply.command.ts';
import { addCompletion } from './commands/completion.command.ts';
import { addDelete } from './commands/delete.command.ts';
import { addDescribe } from './commands/describe.command.ts';
import { addDoctor } from './commands/doctor.command.ts';
import { addDown } from './commands/down.command.ts';
import { addEvents } from './commands/events.command.ts';
import { addExec } from './commands/exec.command.ts';
import { addGet } from './commands/get.command.ts';
import { addImage } from './commands/image.command.ts';
import { addLog } from './commands/log.command.ts';
import { addLogs } from './commands/logs.command.ts';
import { addNodeCommands } from './commands/node.commands.ts';
import { addPlugin } from './commands/plugin.command.ts';
import { addShadow } from './commands/shadow.command.ts';
import { addStack } from './commands/stack.command.ts';
import { addState } from './commands/state.command.ts';
import { addStatus } from './commands/status.command.ts';
import { addSubscription } from './commands/subscription.command.ts';
import { addSwap } from './commands/swap.command.ts';
import { addToken } from './commands/token.command.ts';
import { addTrace } from './commands/trace.command.ts';
import { addUp } from './commands/up.command.ts';
import { addWhatIf } from './commands/what-if.command.ts';
import { addWhy } from './commands/why.command.ts';
import { addWorkloadCommands } from './commands/workload.commands.ts';
import { addZone } from './commands/zone.command.ts';
import type { CliContext, GlobalOptions } from './context.ts';
import { type Distribution, plainCommand } from './distribution.ts';
import { exitCodesHelp } from './exit-codes.ts';

const description = 'An event-sourced cloud OS: boot a stack, run workloads on it, watch everything, swap any layer.';

/** The whole command. The context reads the global options of the program that it is given to. */
export function buildProgram(
  contextOf: (globals: () => GlobalOptions) => CliContext,
  distribution?: Distribution,
): Command {
  const program = new Command(distribution?.command ?? plainCommand);
  const context = contextOf(() => program.opts<GlobalOptions>());
  program
    .description(distribution?.description ?? description)
    .version(distribution?.version ?? version())
    .option('--state-dir <dir>', 'where the kernel keeps its state (default: $CLOUDOS_HOME, else by user)')
    .option('--url <url>', 'a gateway elsewhere ($CLOUDOS_URL); its token is in $CLOUDOS_TOKEN')
    .option('--token <token>', 'token for --url; visible to other users of the machine, prefer $CLOUDOS_TOKEN')
    .option('--fingerprint <sha256>', 'trust the certificate of --url that has it ($CLOUDOS_FINGERPRINT)')
    .option('--ca-file <file>', 'trust certificates for --url that lead to one in this PEM file ($CLOUDOS_CA_FILE)')
    .showHelpAfterError(false)
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.terminal.write(text),
      writeErr: (text) => context.terminal.writeError(text),
      outputError: () => {},
    })
    .addHelpText('after', exitCodesHelp);
  for (const add of [
    addUp,
    addDown,
    addStatus,
    addApply,
    addGet,
    addDescribe,
    addDelete,
    addWorkloadCommands,
    addLogs,
    addExec,
    addEvents,
    addWhy,
    addState,
    addSwap,
    addShadow,
    addWhatIf,
    addTrace,
    addNodeCommands,
    addLog,
    addImage,
    addZone,
    addDoctor,
    addStack,
    addPlugin,
    addToken,
    addSubscription,
    addCompletion,
  ]) {
    add(program, context);
  }
  return program;
}

function version(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
