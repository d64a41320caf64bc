/** What a source file imports: every module name in `import`, `export … from` and `import('…')`. */
export function importsOf(text: string): string[] {
  const code = withoutComments(text);
  const found = [
    ...code.matchAll(/^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]/gm),
    ...code.matchAll(/^\s*import\s*['"]([^'"]+)['"]/gm),
    ...code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g),
  ];
  return [...new Set(found.map((match) => match[1] ?? ''))];
}

/** The npm package of a module name; undefined for relative ones and Node's own. */
export function packageOf(module: string): string | undefined {
  if (module.startsWith('.') || module.startsWith('node:')) return undefined;
  const [first = '', second = ''] = module.split('/');
  return first.startsWith('@') ? `${first}/${second}` : first;
}

/** The text with comments blanked out; lines keep their numbers. Strings and templates stay as they are. */
export function withoutComments(text: string): string {
  const blank = (part: string) => part.replaceAll(/[^\n]/g, ' ');
  return text.replaceAll(
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|(?<!\\)\/\/[^\n]*/g,
    (part) => (part.startsWith('/*') || part.startsWith('//') ? blank(part) : part),
  );
}

/** The text with comments and the contents of strings blanked out: only code is left. */
export function codeOnly(text: string): string {
  return withoutComments(text).replaceAll(
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g,
    (part) => `${part[0]}${' '.repeat(Math.max(0, part.length - 2))}${part[0]}`,
  );
}

/** `path:line` of a place in a text. */
export function at(path: string, text: string, index: number): string {
  return `${path}:${text.slice(0, index).split('\n').length}`;
}
