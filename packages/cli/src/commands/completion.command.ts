import { CloudosError } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { resourceNames } from '../resource-kinds.ts';

export function addCompletion(program: Command, context: CliContext): void {
  program
    .command('completion')
    .description('print a completion script for a shell')
    .argument('<shell>', 'bash | zsh | fish')
    .addHelpText(
      'after',
      `
Examples:
  source <(cloudos completion bash)
  cloudos completion zsh > "\${fpath[1]}/_cloudos"
  cloudos completion fish > ~/.config/fish/completions/cloudos.fish`,
    )
    .action((shell: string) => {
      const script = scripts[shell as keyof typeof scripts];
      if (!script) throw new CloudosError('USAGE', `no completion for the shell ${shell}; expected bash, zsh or fish`);
      context.terminal.write(script(wordsOf(program)));
    });
}

/** What may follow: by the commands before it, subcommands and options. */
interface Words {
  readonly path: string;
  readonly words: readonly string[];
  readonly description: string;
  readonly subcommands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly { readonly flag: string; readonly description: string }[];
}

function wordsOf(command: Command, path = '', globals: Words['options'] = []): Words[] {
  const options = [
    ...command.options
      .map(({ long, description }) => ({ flag: long ?? '', description }))
      .filter(({ flag }) => flag !== ''),
    ...globals,
  ];
  const subcommands = command.commands.map((each) => ({ name: each.name(), description: each.description() }));
  const words = [...subcommands.map(({ name }) => name), ...options.map(({ flag }) => flag), '--help'];
  const own: Words = { path, words, description: command.description(), subcommands, options };
  const inherited = path === '' ? options : globals;
  return [own, ...command.commands.flatMap((each) => wordsOf(each, `${path} ${each.name()}`.trim(), inherited))];
}

const kinds = Object.keys(resourceNames).join(' ');
/** Which names a command takes, asked from the running kernel. */
const named: Readonly<Record<string, string>> = {
  describe: 'instances',
  logs: 'instances',
  exec: 'instances',
  why: 'instances',
  scale: 'workloads',
  rollback: 'workloads',
  restart: 'workloads',
  delete: 'workloads',
  cordon: 'nodes',
  uncordon: 'nodes',
  drain: 'nodes',
};

function bash(all: readonly Words[]): string {
  const cases = all.map(({ path, words }) => `    '${path}') words="${words.join(' ')}" ;;`).join('\n');
  const names = Object.entries(named)
    .map(([command, kind]) => `    '${command}') kind=${kind} ;;`)
    .join('\n');
  return `# bash completion for cloudos
_cloudos() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" path="" words="" kind="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in -*) ;; *) [[ \${#path} -eq 0 || "$path" =~ ^(log|stack|plugin|token|image|subscription|zone)$ ]] && path="\${path:+$path }\${COMP_WORDS[i]}" ;; esac
  done
  case "$path" in
${cases}
  esac
  case "$path" in
    'get') words="$words ${kinds}" ;;
${names}
  esac
  [[ -n "$kind" && "$cur" != -* ]] && words="$words $(cloudos get "$kind" -o name 2>/dev/null)"
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [[ "$cur" != -* ]] && COMPREPLY+=($(compgen -f -- "$cur"))
}
complete -F _cloudos cloudos
`;
}

function zsh(all: readonly Words[]): string {
  return `#compdef cloudos
autoload -U +X bashcompinit && bashcompinit
${bash(all)}`;
}

function fish(all: readonly Words[]): string {
  const quote = (text: string) => `'${text.replaceAll("'", "\\'")}'`;
  const lines = ['# fish completion for cloudos', 'complete -c cloudos -n __fish_use_subcommand -f'];
  for (const { path, subcommands, options } of all) {
    const [command] = path.split(' ');
    const when = path === '' ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${command}`;
    for (const { name, description } of subcommands) {
      lines.push(`complete -c cloudos -n ${quote(when)} -f -a ${name} -d ${quote(description)}`);
    }
    for (const { flag, description } of options) {
      lines.push(`complete -c cloudos -n ${quote(when)} -l ${flag.slice(2)} -d ${quote(description)}`);
    }
  }
  lines.push(`complete -c cloudos -n '__fish_seen_subcommand_from get' -f -a '${kinds}'`);
  for (const [command, kind] of Object.entries(named)) {
    lines.push(
      `complete -c cloudos -n '__fish_seen_subcommand_from ${command}' -f -a '(cloudos get ${kind} -o name 2>/dev/null)'`,
    );
  }
  return `${lines.join('\n')}\n`;
}

const scripts = { bash, zsh, fish };
