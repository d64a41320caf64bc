import { environmentVariable, type GuestTemplate } from '@cloudos/sdk';
import type { Fields } from './fields.ts';

export type Variables = GuestTemplate['env'];

const environmentName = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/;
const reference = /\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)/g;

/** The `env` of a container. Secrets are references: their values are read on the node when the guest starts. */
export function readEnvironment(container: Fields, namespace: string): Variables {
  const env: Variables = [];
  for (const variable of container.list('env')) {
    const name = variable.required('name');
    if (name && !environmentName.test(name)) {
      variable.report.invalid(variable.at('name'), name, 'letters, digits, dots, dashes and underscores');
    }
    const source = variable.object('valueFrom');
    const secret = source && readSource(source, namespace);
    const text = variable.string('value') ?? '';
    if (source && text !== '') variable.report.refuse(variable.at('valueFrom'), 'may not be given beside a value');
    const value = expandVariables(text, env);
    refuseSecretsIn(variable, 'value', [text], env);
    variable.done();
    const earlier = env.findIndex((other) => other.name === name);
    if (earlier >= 0) env.splice(earlier, 1);
    env.push(secret === undefined ? { name, value } : { name, secret });
  }
  return env;
}

/** `<namespace>/<name>/<key>` of a `secretKeyRef`: a secret of one namespace is never that of another. */
function readSource(source: Fields, namespace: string): string | undefined {
  source.unsupported(
    ['configMapKeyRef', 'fieldRef', 'resourceFieldRef', 'fileKeyRef'],
    'is not supported: give a value',
  );
  const fields = source.object('secretKeyRef');
  if (!fields) {
    if (!source.has('secretKeyRef')) source.report.refuse(source.path, 'expected secretKeyRef');
    source.done();
    return undefined;
  }
  source.done();
  const [name, key] = [fields.required('name'), fields.required('key')];
  fields.unsupported(['optional'], 'is not supported: a guest does not start without its secrets');
  fields.done();
  if (!name || !key) return undefined;
  const secret = `${namespace}/${name}/${key}`;
  const sound = !name.includes('/') && !key.includes('/');
  if (sound && environmentVariable.safeParse({ name, secret }).success) return secret;
  const form = 'a name and a key of letters, digits, `.`, `_` and `-` that do not begin with a dot, 253 with namespace';
  fields.report.invalid(fields.path, `${name}/${key}`, form);
  return undefined;
}

/**
 * Replaces `$(NAME)` by the value of a variable defined before; `$$(NAME)` stands for itself, and so does a name that
 * is not defined (https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/).
 */
export function expandVariables(text: string, env: Variables): string {
  return text.replace(reference, (whole, name: string | undefined) => {
    if (whole === '$$') return '$';
    const variable = env.find((other) => other.name === name);
    return variable && 'value' in variable ? variable.value : whole;
  });
}

/** Refuses `$(NAME)` of a secret, whose value is not known before the guest starts. */
export function refuseSecretsIn(owner: Fields, key: string, texts: readonly string[], env: Variables): void {
  const secrets = new Set(env.flatMap((variable) => ('secret' in variable ? [variable.name] : [])));
  for (const text of texts) {
    for (const [whole, name] of text.matchAll(reference)) {
      if (name === undefined || !secrets.has(name)) continue;
      owner.report.refuse(owner.at(key), `${whole} is a secret: let the program read it from its environment`);
    }
  }
}
