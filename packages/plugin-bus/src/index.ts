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
export { Slot } from './slot.ts';
export {
  type Activation,
  type PluginSpec,
  type SlotFailure,
  type SlotHooks,
  type SlotLimits,
  type SlotOptions,
  slotLimits,
} from './slot-options.ts';
