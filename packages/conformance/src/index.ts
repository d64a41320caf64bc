export { type PluginContextOptions, pluginContext, type TestPluginContext } from './plugin-context.ts';
