// The parts of FiftyOne's packages that the panel uses. They are globals of the App, and not on npm.

declare module "@fiftyone/plugins" {
  export enum PluginComponentType {
    Component = 3,
  }
  export function registerComponent(component: {
    name: string;
    label: string;
    component: React.ComponentType<never>;
    type: PluginComponentType;
    activator: () => boolean;
  }): void;
}

declare module "@fiftyone/operators" {
  export interface EventResult {
    result?: unknown;
    error?: unknown;
    errorMessage?: unknown;
  }
  export function usePanelEvent(): (
    panelId: string,
    event: {
      operator: string;
      params: Record<string, unknown>;
      callback: (result: EventResult) => boolean | undefined;
    },
  ) => void;
}

declare module "@fiftyone/spaces" {
  export function usePanelId(): string;
}

declare module "@fiftyone/state" {
  import type { RecoilState } from "recoil";
  export function getSampleSrc(path: string): string;
  export const selectedSamples: RecoilState<Map<string, unknown> | Set<string>>;
  export const view: RecoilState<unknown>;
  export const filters: RecoilState<unknown>;
}

declare module "recoil" {
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  export interface RecoilState<T> {
    readonly key: string;
  }
  export function useRecoilValue<T>(state: RecoilState<T>): T;
}
