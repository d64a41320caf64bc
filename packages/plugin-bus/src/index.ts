export { withinDeadline } from './deadline.ts';
export {
  checkConfig,
  expectSlot,
  givenPlugins,
  installedPlugins,
  type LoadedPlugin,
  loadPlugin,
  type PluginSource,
} from './plugin-loader.ts';
export {
  type Activation,
  type PluginSpec,
  Slot,
  type SlotFailure,
  type SlotHooks,
  type SlotLimits,
  type SlotOptions,
  slotLimits,
} from './slot.ts';
