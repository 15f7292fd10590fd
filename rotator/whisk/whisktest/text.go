package whisktest

// Texts of the controller that clients decide on.
const (
	TextConflict   = "Concurrent modification to resource detected."
	TextExists     = "resource already exists"
	TextWrongType  = "Resource by this name exists but is not in this collection."
	TextNoExec     = "exec undefined"
	TextBelow      = "Operation not permitted on package binding."
	TextNotFound   = "The requested resource does not exist."
	TextMalformed  = "The request content was malformed:\n"
	TextParameters = TextMalformed + "parameters malformed!"
	TextFinal      = "Request defines parameters that are not allowed (e.g., reserved properties)."
	TextInternal   = "There was an internal server error."
)

const (
	textNoAuth    = "The resource requires authentication, which was not supplied with the request"
	textBadAuth   = "The supplied authentication is invalid"
	textForbidden = "The supplied authentication is not authorized to access '%s'."
	textNoRoute   = "The requested resource could not be found."
	textNoPackage = "The requested resource '%s' does not exist."
	textNoBody    = "Request entity expected but not supplied"
	textMediaType = "The request's Content-Type [%s] is not supported. Expected:\napplication/json"
	textTooLarge  = "%s larger than allowed: %d > %d bytes."
	textOldKind   = "The '%s' runtime is no longer supported. You may read and delete but not update or invoke this action."
	textBadKind   = TextMalformed + "The specified runtime '%s' is not supported by this platform. Valid values are: %s."
	textBadName   = "The name of the entity contains illegal characters."
	textReserved  = "Package name 'default' is reserved."
	textToBinding = "Resource is a package and cannot be converted into a binding."
	textProvider  = "Binding references a package that does not exist."
	textRebind    = "Cannot bind to another package binding."
	textNotEmpty  = "Package not empty (contains %d %s). Set force param or delete package contents."
	textComponent = "Sequence component does not exist."
	textCodeField = TextMalformed + "'code' must be a string or attachment object defined in 'exec' for '%s' actions"
)
