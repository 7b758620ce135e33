import { FILES, FOLDERS } from "./files.mjs";
import { COMMENTS, ISSUES, PROJECTS, SPRINTS } from "./issues.mjs";
import { MERGE_REQUESTS } from "./merge_requests.mjs";
import { PAGES, SPACES } from "./pages.mjs";
import { COMMITS, PIPELINES, REPOSITORIES } from "./repositories.mjs";

/**
 * A fresh copy of the company's data. Every demo has its own, so writes of one never show up in another.
 *
 * @returns a plain object with one part per server
 */
export function createCompany() {
  return structuredClone({
    tracker: { projects: PROJECTS, sprints: SPRINTS, issues: ISSUES, comments: COMMENTS },
    wiki: { spaces: SPACES, pages: PAGES },
    drive: { folders: FOLDERS, files: FILES },
    forge: {
      repositories: REPOSITORIES,
      commits: COMMITS,
      pipelines: PIPELINES,
      mergeRequests: MERGE_REQUESTS,
    },
  });
}
