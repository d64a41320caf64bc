export { busyboxReference, importBusybox, lacksBusybox, writeBusyboxRoot } from './busybox.ts';
