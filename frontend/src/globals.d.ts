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
  export function executeOperator(
    uri: string,
    params: Record<string, unknown>,
    options: { callback: (result: EventResult) => boolean | undefined; skipErrorNotification: boolean },
  ): void;
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
  export function useSpaceNodes(space: string): readonly { id: string; type: string | null }[];
  export function useSetPanelStateById(
    local: boolean,
  ): (panel: string, change: (state: Record<string, unknown> | null) => Record<string, unknown>) => Promise<void>;
}

declare module "@fiftyone/state" {
  import type { RecoilState } from "recoil";
  export function getSampleSrc(path: string): string;
  /** Relay's environment; other versions of the App may not have it. */
  export const getCurrentEnvironment:
    | (() => { commitUpdate(update: (store: { invalidateStore(): void }) => void): void } | undefined)
    | undefined;
  export const selectedSamples: RecoilState<Map<string, unknown> | Set<string>>;
  export const view: RecoilState<unknown>;
  export const filters: RecoilState<unknown>;
  export const colorScheme: RecoilState<Record<string, unknown> | null>;
  export function sidebarGroupsDefinition(modal: boolean): RecoilState<readonly SidebarGroup[]>;
  export const constants: { FIFTYONE_GRID_SPACES_ID: string };
  interface SidebarGroup {
    name: string;
    paths: readonly string[];
    expanded: boolean | null;
  }
}

declare module "recoil" {
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  export interface RecoilState<T> {
    readonly key: string;
  }
  export function useRecoilValue<T>(state: RecoilState<T>): T;
  export function useSetRecoilState<T>(state: RecoilState<T>): (value: T | ((value: T) => T)) => void;
}
