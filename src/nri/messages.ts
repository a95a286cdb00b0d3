import { nri } from "../../api/nri/nri.js";

/*
 * NRI's messages (api/nri/nri.proto) by their own names. What we send has every field optional; what a plugin sent is whole, with empty
 * lists and maps in place of absent ones. 64-bit numbers are bigint.
 */

export const v1 = nri.pkg.api.v1alpha1;

export type PodSandbox = nri.pkg.api.v1alpha1.PodSandbox.$Properties;
export type Container = nri.pkg.api.v1alpha1.Container.$Properties;
export type SeccompPolicy = nri.pkg.api.v1alpha1.LinuxSeccomp.$Properties;
export type LinuxResources = nri.pkg.api.v1alpha1.LinuxResources;
export type LinuxMemory = nri.pkg.api.v1alpha1.LinuxMemory;
export type LinuxCpu = nri.pkg.api.v1alpha1.LinuxCPU;
export type ContainerAdjustment = nri.pkg.api.v1alpha1.ContainerAdjustment;
export type LinuxContainerAdjustment = nri.pkg.api.v1alpha1.LinuxContainerAdjustment;
export type ContainerUpdate = nri.pkg.api.v1alpha1.ContainerUpdate;
export type ContainerEviction = nri.pkg.api.v1alpha1.ContainerEviction;

export interface PodRequest {
  pod: PodSandbox;
}

export interface ContainerRequest {
  pod: PodSandbox;
  container: Container;
}

/** What a message of this type says when none of its fields is set. */
export function emptyResources(): LinuxResources {
  return new v1.LinuxResources();
}

/** A key that stands for the removal of another: that other; undefined for any other key. */
export function removedKey(key: string): string | undefined {
  return key.startsWith("-") ? key.slice(1) : undefined;
}

/** The key that stands for the removal of `key`. */
export function removalOf(key: string): string {
  return `-${key}`;
}
