/** The scripts are plain JavaScript, because they run before anything is installed. Their shapes, for the specs. */
export interface TestResult {
  readonly passed: number;
  readonly failed: readonly { readonly title: string; readonly message: string }[];
  readonly skipped: readonly { readonly title: string }[];
}

interface Reports {
  summarize(name: string, sources: string, specs: readonly string[], report: unknown, reasons?: object): TestResult;
  readReport(project: { name: string; folder: string }): TestResult;
  total(results: readonly TestResult[]): TestResult;
}

interface Install {
  whyNotInstalled(folder: string): string | undefined;
}

interface Arguments {
  parseArguments(argv: readonly string[], options: Readonly<Record<string, string>>): Record<string, unknown>;
}

interface Workspace {
  checkNode(version: string): string | undefined;
}

interface Namespaces {
  namespacesAreThere(): boolean;
  inNamespaces(command: string, args: readonly string[]): readonly [string, readonly string[]];
}

interface Table {
  table(rows: readonly object[]): string;
}

const script = async <T>(name: string): Promise<T> =>
  (await import(new URL(`../../lib/${name}.mjs`, import.meta.url).href)) as T;

export const reports = await script<Reports>('reports');
export const install = await script<Install>('install');
export const { parseArguments } = await script<Arguments>('arguments');
export const { checkNode } = await script<Workspace>('workspace');
export const { namespacesAreThere, inNamespaces } = await script<Namespaces>('namespaces');
export const { table } = await script<Table>('table');
