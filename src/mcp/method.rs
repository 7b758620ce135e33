//! The methods a client may send, and what the pipeline has to know of each.

use super::version::Era;

/// A request or notification method a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `initialize`
    Initialize,
    /// `server/discover`
    Discover,
    /// `ping`
    Ping,
    /// `tools/list`
    ToolsList,
    /// `tools/call`
    ToolsCall,
    /// `prompts/list`
    PromptsList,
    /// `prompts/get`
    PromptsGet,
    /// `resources/list`
    ResourcesList,
    /// `resources/templates/list`
    TemplatesList,
    /// `resources/read`
    ResourcesRead,
    /// `resources/subscribe`
    ResourcesSubscribe,
    /// `resources/unsubscribe`
    ResourcesUnsubscribe,
    /// `completion/complete`
    Complete,
    /// `logging/setLevel`
    SetLevel,
    /// `subscriptions/listen`
    Listen,
    /// `tasks/get` (extension `io.modelcontextprotocol/tasks`)
    TasksGet,
    /// `tasks/update`
    TasksUpdate,
    /// `tasks/cancel`
    TasksCancel,
    /// `notifications/initialized`
    Initialized,
    /// `notifications/cancelled`
    Cancelled,
    /// `notifications/progress`
    Progress,
    /// `notifications/roots/list_changed`
    RootsChanged,
}

impl Method {
    /// Every method, for tables and tests.
    pub const ALL: [Self; 22] = [
        Self::Initialize,
        Self::Discover,
        Self::Ping,
        Self::ToolsList,
        Self::ToolsCall,
        Self::PromptsList,
        Self::PromptsGet,
        Self::ResourcesList,
        Self::TemplatesList,
        Self::ResourcesRead,
        Self::ResourcesSubscribe,
        Self::ResourcesUnsubscribe,
        Self::Complete,
        Self::SetLevel,
        Self::Listen,
        Self::TasksGet,
        Self::TasksUpdate,
        Self::TasksCancel,
        Self::Initialized,
        Self::Cancelled,
        Self::Progress,
        Self::RootsChanged,
    ];

    /// The method by its name on the wire.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Discover => "server/discover",
            Self::Ping => "ping",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::ResourcesList => "resources/list",
            Self::TemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::Complete => "completion/complete",
            Self::SetLevel => "logging/setLevel",
            Self::Listen => "subscriptions/listen",
            Self::TasksGet => "tasks/get",
            Self::TasksUpdate => "tasks/update",
            Self::TasksCancel => "tasks/cancel",
            Self::Initialized => "notifications/initialized",
            Self::Cancelled => "notifications/cancelled",
            Self::Progress => "notifications/progress",
            Self::RootsChanged => "notifications/roots/list_changed",
        }
    }

    /// Whether the method exists in an era (2026-07-28 changelog, major changes 2 to 5). The tasks of 2025-11-25 were an
    /// experiment that never passed through the portal.
    #[must_use]
    pub fn exists_in(self, era: Era) -> bool {
        match self {
            Self::Discover
            | Self::Listen
            | Self::TasksGet
            | Self::TasksUpdate
            | Self::TasksCancel => era == Era::Modern,
            Self::Initialize
            | Self::Ping
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::SetLevel
            | Self::Initialized
            | Self::Progress
            | Self::RootsChanged => era == Era::Legacy,
            Self::ToolsList
            | Self::ToolsCall
            | Self::PromptsList
            | Self::PromptsGet
            | Self::ResourcesList
            | Self::TemplatesList
            | Self::ResourcesRead
            | Self::Complete
            | Self::Cancelled => true,
        }
    }

    /// Whether the method names its target in the `Mcp-Name` header.
    #[must_use]
    pub fn has_name_header(self) -> bool {
        matches!(
            self,
            Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead
        ) || self.is_about_task()
    }

    /// Whether the method is about a task that a call became (SEP-2663).
    #[must_use]
    pub fn is_about_task(self) -> bool {
        matches!(self, Self::TasksGet | Self::TasksUpdate | Self::TasksCancel)
    }

    /// Whether what it asks for outlives the request.
    #[must_use]
    pub fn is_subscription(self) -> bool {
        matches!(self, Self::ResourcesSubscribe | Self::ResourcesUnsubscribe)
    }

    /// Whether its server may ask for input before it answers (2026-07-28, basic/patterns/mrtr, "Supported Requests").
    #[must_use]
    pub fn may_ask(self) -> bool {
        matches!(
            self,
            Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead
        )
    }

    /// Whether an upstream does the work: each such request leaves exactly one outcome or refusal in the audit.
    #[must_use]
    pub fn is_governed(self) -> bool {
        matches!(
            self,
            Self::ToolsCall
                | Self::PromptsGet
                | Self::ResourcesRead
                | Self::Complete
                | Self::ResourcesSubscribe
                | Self::ResourcesUnsubscribe
        ) || self.is_about_task()
    }
}
